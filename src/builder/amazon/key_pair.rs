//! A key pair for one instance. The private half is made here, and never leaves this host.

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::ResourceType;

use super::Client;
use super::error::is_duplicate;
use super::made::{Made, Sort};
use super::run_options::RunOptions;
use super::tags;
use crate::communicator::ssh::TemporaryKey;
use crate::communicator::ssh::keys::TemporaryKeyOptions;
use crate::engine::BuildCx;
use crate::error::Result;

/// Makes a key pair that is known to AWS; returns it with its name there.
pub async fn make(
    client: &Client,
    options: &RunOptions,
    kind: &TemporaryKeyOptions,
    cx: &BuildCx,
) -> Result<(TemporaryKey, String)> {
    let given = options.temporary_key_pair_name.clone();
    let made = Made::enter_as(client, Sort::KeyPair, given, cx).await?;
    let name = made.thing.name.as_ref().unwrap_or(&made.thing.mark).clone();
    let key = TemporaryKey::generate_kind(kind.kind()?, &name).await?;
    cx.ui.secrets().add(&key.to_openssh()?);
    let tags = made.tags(&options.run_tags, cx);
    let imported = client
        .ec2
        .import_key_pair()
        .key_name(&name)
        .public_key_material(Blob::new(key.authorized_key.as_bytes()))
        .set_tag_specifications(tags::specifications(&[(ResourceType::KeyPair, &tags)]))
        .send()
        .await;
    match imported {
        Ok(_) => Ok((key, name)),
        // Sent again, because the first answer was lost.
        Err(e) if is_duplicate(&e) && (made.thing.name.is_none() || made.thing.key_pair(client).await?) => {
            Ok((key, name))
        }
        Err(e) => Err(client.failed("ec2:ImportKeyPair", e).await),
    }
}
