//! What programs on a machine and on this host say, and small files that others write.

use super::source::Source;
use crate::host::qemu_img::last_percent;
use crate::media::s3::credentials;
use crate::media::seed::parse_cloud_config;
use crate::provisioner::{facts, os_release};
use crate::script::api::git;

const PIECES: &[&str] = &["a", "B", " ", "\"", "'", "\\", "$", "=", "#", "é", "[", "]", ":", "-"];

/// Whatever is said, something is made of it; what a system says of itself by its rules is understood.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = facts::parse(&text);
    let _ = git::parse(&text);
    let _ = parse_cloud_config(&text);
    let _ = parse_cloud_config(&format!("#cloud-config\n{text}"));
    let _ = last_percent(&text);
    for (name, section) in credentials::parse(&text) {
        assert!(!name.contains(']') && section.keys().all(|key| !key.contains('=')), "{name:?} {section:?}");
    }

    let mut source = Source::new(data);
    let (cpus, kib) = (source.below(4000), source.number() >> 16);
    let name = source.text(PIECES, 8);
    let quoted: String =
        name.chars().flat_map(|c| "\"\\$`".contains(c).then_some('\\').into_iter().chain([c])).collect();
    let release = format!("ID=debian\nVERSION_ID=\"12.5\"\n# a comment\nPRETTY_NAME=\"{quoted}\"\n");
    assert_eq!(os_release::parse(&release).get("PRETTY_NAME"), Some(&name), "{release}");
    let facts = facts::parse(&format!("system=Linux\ncpus={cpus}\nmemory_kib={kib}\nuid=0\n--\n{release}"));
    assert_eq!((facts.cpus as usize, facts.memory, facts.is_root), (cpus, kib * 1024, true));
    assert_eq!((facts.os_family.as_str(), facts.version_major, &facts.pretty_name), ("debian", 12, &name));
}
