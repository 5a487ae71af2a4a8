//! What a file is, by the end of its name.

/// Returns the media type; what an installer reads is text unless its name says otherwise.
pub(super) fn of(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    match extension.as_deref() {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("json" | "ign") => "application/json",
        Some("xml") => "text/xml; charset=utf-8",
        Some("yaml" | "yml") => "application/yaml",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("pdf") => "application/pdf",
        Some("gz" | "tgz") => "application/gzip",
        Some("xz" | "txz") => "application/x-xz",
        Some("bz2") => "application/x-bzip2",
        Some("zst") => "application/zstd",
        Some("zip") => "application/zip",
        Some("tar") => "application/x-tar",
        Some("deb") => "application/vnd.debian.binary-package",
        Some("rpm") => "application/x-rpm",
        None | Some("txt" | "cfg" | "conf" | "ks" | "sh" | "ps1" | "preseed" | "seed" | "log" | "ipxe" | "toml") => {
            "text/plain; charset=utf-8"
        }
        Some(_) => "application/octet-stream",
    }
}
