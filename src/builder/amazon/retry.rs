//! Which failures are not sent again, though the SDK would.

use aws_sdk_ec2::operation::run_instances::RunInstancesError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction, RetryClassifierPriority};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::error::means_no_capacity;

/// Says that a lack of room does not pass by the next second: AWS answers it with status 500, like an accident of its own.
#[derive(Debug)]
pub struct NoRoom;

impl ClassifyRetry for NoRoom {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let failure = context.output_or_error().and_then(Result::err);
        let failure = failure.and_then(|e| e.as_operation_error()).and_then(|e| e.downcast_ref::<RunInstancesError>());
        match failure.and_then(|e| e.code()).is_some_and(means_no_capacity) {
            true => RetryAction::RetryForbidden,
            false => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "no room for an instance"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}
