//! `qemu-img`: what an image is, and making one out of another.
//!
//! A format that is known is always passed on: a guest can write anything to its disk, also the header of another
//! format, which guessing would then believe (and open the files it names).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::process::{self, Process};
use crate::error::{Context, Error, Kind, Result, full_disk};

/// A format that rimg writes disk images in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    Qcow2,
    Raw,
    Vmdk,
    Vdi,
    Vhdx,
}

impl DiskFormat {
    /// Every format, in the order they are listed to users.
    pub const ALL: [DiskFormat; 5] =
        [DiskFormat::Qcow2, DiskFormat::Raw, DiskFormat::Vmdk, DiskFormat::Vdi, DiskFormat::Vhdx];

    /// Returns the name that users and `qemu-img` know it by, which is also the file's extension.
    pub fn as_str(self) -> &'static str {
        match self {
            DiskFormat::Qcow2 => "qcow2",
            DiskFormat::Raw => "raw",
            DiskFormat::Vmdk => "vmdk",
            DiskFormat::Vdi => "vdi",
            DiskFormat::Vhdx => "vhdx",
        }
    }

    /// Returns the format of that name.
    pub fn parse(name: &str) -> Result<DiskFormat> {
        let names = Self::ALL.map(DiskFormat::as_str);
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| {
            Error::new(Kind::Option, format!("{name:?} is not a format of disk images; there are {}", names.join(", ")))
        })
    }

    /// Tells whether the format can hold compressed clusters.
    pub fn compresses(self) -> bool {
        matches!(self, DiskFormat::Qcow2 | DiskFormat::Vmdk)
    }
}

/// What `qemu-img info` says about an image.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ImageInfo {
    /// `qcow2`, `raw`, `vpc`, … as `qemu-img` calls it.
    pub format: String,
    /// Bytes the guest sees.
    pub virtual_size: u64,
    /// Bytes the file takes on this host's disk.
    #[serde(default)]
    pub actual_size: u64,
    /// The image this one is an overlay of, as an absolute path.
    #[serde(default, rename = "full-backing-filename")]
    pub backing_file: Option<PathBuf>,
}

/// One conversion.
#[derive(Debug, Clone)]
pub struct Conversion<'a> {
    pub source: &'a Path,
    /// None lets `qemu-img` look; only for images that no guest has written.
    pub source_format: Option<&'a str>,
    pub target: &'a Path,
    pub format: DiskFormat,
    /// Whether clusters are compressed.
    pub compress: bool,
    /// Whether areas of zeroes take no space in the target; otherwise all of it is allocated.
    pub compact: bool,
    /// Options of the target's format, `key=value`.
    pub options: &'a [String],
    /// Further arguments of the user's own.
    pub more: &'a [String],
}

fn require() -> Result<PathBuf> {
    process::require("qemu-img", "qemu-utils")
}

/// Returns a path that `qemu-img` cannot take for a protocol (`nbd:…`) or an option.
fn plain(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| crate::error::io_error("resolve", path, e))
}

/// Reads what an image is. The image may be in use.
pub async fn info(image: &Path, format: Option<&str>) -> Result<ImageInfo> {
    let image = plain(image)?;
    // Its own message for a missing file is about block drivers.
    tokio::fs::metadata(&image).await.map_err(|e| crate::error::io_error("read image", &image, e))?;
    let mut args: Vec<OsString> = ["info", "--force-share", "--output=json"].map(Into::into).to_vec();
    if let Some(format) = format {
        args.extend(["-f".into(), format.into()]);
    }
    args.push(image.clone().into());
    let output = process::run(require()?, args).await?;
    serde_json::from_slice(&output.stdout)
        .with_context(Kind::Host, || format!("cannot understand what qemu-img says about {}", image.display()))
}

/// Returns the images that an image is an overlay of, the nearest first.
pub async fn below(image: &ImageInfo) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut next = image.backing_file.clone();
    while let Some(path) = next {
        if found.contains(&path) {
            let message = format!("{} is an overlay of itself", path.display());
            return Err(Error::new(Kind::Host, message));
        }
        next = info(&path, None).await?.backing_file;
        found.push(path);
    }
    Ok(found)
}

/// Makes an empty image of `size` bytes; `more` are further arguments of the user's own.
pub async fn create(target: &Path, format: DiskFormat, size: u64, more: &[String]) -> Result<()> {
    let mut args: Vec<OsString> = ["create", "-q", "-f", format.as_str()].map(OsString::from).to_vec();
    args.extend(more.iter().map(OsString::from));
    args.extend([plain(target)?.into(), size.to_string().into()]);
    process::run(require()?, args).await.map(drop)
}

/// Makes a qcow2 image that takes from `backing` what is not written to it; `size` (bytes) enlarges what the guest
/// sees.
pub async fn create_overlay(
    backing: &Path,
    backing_format: &str,
    target: &Path,
    size: Option<u64>,
    more: &[String],
) -> Result<()> {
    let mut args: Vec<OsString> = ["create", "-q", "-f", "qcow2", "-F", backing_format].map(OsString::from).to_vec();
    args.extend(more.iter().map(OsString::from));
    args.extend(["-b".into(), plain(backing)?.into(), plain(target)?.into()]);
    args.extend(size.map(|size| size.to_string().into()));
    process::run(require()?, args).await.map(drop)
}

/// Makes the disk larger, to `size` bytes.
pub async fn resize(image: &Path, format: &str, size: u64, more: &[String]) -> Result<()> {
    let mut args: Vec<OsString> = ["resize", "-q", "-f", format].map(OsString::from).to_vec();
    args.extend(more.iter().map(OsString::from));
    args.extend([plain(image)?.into(), size.to_string().into()]);
    process::run(require()?, args).await.map(drop)
}

/// Converts an image, leaving out what is unused; `percent` hears how far it is, 0 to 100. Dropping the future kills
/// `qemu-img`; the half-written target is the caller's to remove.
pub async fn convert(conversion: &Conversion<'_>, percent: impl Fn(f64)) -> Result<()> {
    let mut command = Command::new(require()?);
    command.args(["convert", "-p", "-O", conversion.format.as_str()]);
    if let Some(format) = conversion.source_format {
        command.args(["-f", format]);
    }
    if conversion.compress {
        command.arg("-c");
    }
    if !conversion.compact {
        command.args(["-S", "0"]);
    }
    for option in conversion.options {
        command.args(["-o", option]);
    }
    command.args(conversion.more);
    command.arg(plain(conversion.source)?).arg(plain(conversion.target)?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(&mut command)?;
    let (out, err) = (process.child().stdout.take(), process.child().stderr.take());
    let watch = async {
        let Some(mut out) = out else { return };
        let (mut chunk, mut text) = ([0u8; 512], String::new());
        while let Ok(n @ 1..) = out.read(&mut chunk).await {
            text.push_str(&String::from_utf8_lossy(chunk.get(..n).unwrap_or_default()));
            if let Some(done) = last_percent(&text) {
                percent(done);
            }
            // A report may be cut in two by the pipe: keep what came after the last whole one.
            text = text.rsplit_once('\r').map(|(_, rest)| rest.to_owned()).unwrap_or(text);
        }
    };
    let words = async {
        let mut words = Vec::new();
        if let Some(mut err) = err {
            let _ = err.read_to_end(&mut words).await;
        }
        String::from_utf8_lossy(&words).trim().to_owned()
    };
    let ((), words) = tokio::join!(watch, words);
    let status = process.wait().await.context(Kind::Host, "cannot wait for qemu-img")?;
    if status.success() {
        percent(100.0);
        return Ok(());
    }
    let source = conversion.source.display();
    let error = Error::new(Kind::Host, format!("cannot convert {source} to {}: {words}", conversion.format.as_str()))
        .field("status", status.code())
        .field("stderr", words.clone());
    Err(if words.contains("No space left") { error.hint(full_disk(conversion.target)) } else { error })
}

/// Returns the last figure of `    (12.34/100%)\r    (13.00/100%)\r`.
pub(crate) fn last_percent(text: &str) -> Option<f64> {
    let (before, _) = text.rsplit_once("/100%)")?;
    let (_, number) = before.rsplit_once('(')?;
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_last_whole_report() {
        assert_eq!(last_percent("    (0.00/100%)\r    (12.50/100%)\r    (13."), Some(12.5));
        assert_eq!(last_percent("nothing"), None);
    }

    #[tokio::test]
    async fn makes_describes_enlarges_and_converts() {
        if process::which("qemu-img").is_none() {
            assert!(std::env::var_os("CI").is_none(), "qemu-img is not installed");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (base, top) = (dir.path().join("base: 1.raw"), dir.path().join("top.qcow2"));
        std::fs::write(&base, vec![7u8; 3 << 20]).unwrap();
        create_overlay(&base, "raw", &top, Some(8 << 20), &["-o".into(), "cluster_size=1M".into()]).await.unwrap();
        let described = info(&top, None).await.unwrap();
        assert_eq!((described.format.as_str(), described.virtual_size), ("qcow2", 8 << 20));
        assert_eq!(described.backing_file.as_deref(), Some(base.as_path()));
        resize(&top, "qcow2", 9 << 20, &[]).await.unwrap();
        let flat = dir.path().join("flat.raw");
        let seen = std::cell::Cell::new(0.0);
        let conversion = Conversion {
            source: &top,
            source_format: Some("qcow2"),
            target: &flat,
            format: DiskFormat::Raw,
            compress: false,
            compact: true,
            options: &[],
            more: &[],
        };
        convert(&conversion, |percent| seen.set(percent)).await.unwrap();
        assert!((seen.get() - 100.0).abs() < f64::EPSILON);
        let flat = std::fs::read(&flat).unwrap();
        assert_eq!((flat.len(), flat[0], flat[(3 << 20) - 1], flat[3 << 20]), (9 << 20, 7, 7, 0));
        let empty = dir.path().join("empty.vdi");
        create(&empty, DiskFormat::Vdi, 1 << 20, &[]).await.unwrap();
        assert_eq!(info(&empty, None).await.unwrap().format, "vdi");
        let missing = info(&dir.path().join("none"), None).await.unwrap_err();
        assert!(missing.message().contains("none"), "{missing}");
    }
}
