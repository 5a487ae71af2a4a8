//! What `rimg.amazon.client{…}` can be asked: one file a sort of thing, each ending in a flat table of calls.

mod convert;
mod identity;
mod image_access;
mod image_copy;
mod image_end;
mod images;
mod instance_power;
mod instances;
mod key_pairs;
mod parameters;
mod request;
mod secrets;
mod security_groups;
mod snapshots;
mod tagging;
mod windows_passwords;

pub use convert::parse_time;
pub use instances::console_output;
pub use request::{Asking, Call, Prepared};

/// Every call there is.
pub fn all() -> impl Iterator<Item = &'static Call> {
    let tables: [&'static [Call]; 14] = [
        identity::CALLS,
        images::CALLS,
        image_copy::CALLS,
        image_access::CALLS,
        image_end::CALLS,
        tagging::CALLS,
        snapshots::CALLS,
        instances::CALLS,
        instance_power::CALLS,
        key_pairs::CALLS,
        security_groups::CALLS,
        parameters::CALLS,
        secrets::CALLS,
        windows_passwords::CALLS,
    ];
    tables.into_iter().flatten()
}
