//! The machine's disk: an overlay on the source image, a copy of it, or an empty one.

use std::path::{Path, PathBuf};

use super::options::QemuOptions;
use super::source::ImageSource;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};
use crate::host::qemu_img::{self, Conversion, DiskFormat, ImageInfo};
use crate::ui::event::Unit;

/// The image a machine starts from, found and described.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub info: ImageInfo,
}

/// The size of a disk that nobody gave one, as in Packer.
const EMPTY_SIZE: u64 = 40 << 30;

/// Finds the source image, fetching it where it is a URL; none when the disk starts empty.
pub async fn find(options: &QemuOptions, cx: &BuildCx) -> Result<Option<Source>> {
    let path = match &options.source_image {
        Some(ImageSource::Path(path)) => {
            let path = cx.settings.resolve(path);
            match &options.source_checksum {
                Some(checksum) => super::source::fetch(&path.display().to_string(), Some(checksum), cx).await?,
                None => path,
            }
        }
        Some(ImageSource::Artifact(artifact)) => ImageSource::artifact_image(artifact)?,
        Some(ImageSource::Url(url)) => super::source::fetch(url, options.source_checksum.as_deref(), cx).await?,
        None => return Ok(None),
    };
    let info = qemu_img::info(&path, None).await.map_err(|e| e.within("option `source_image`"))?;
    Ok(Some(Source { path, info }))
}

/// Makes the disk at `to` (qcow2), replacing one that is there.
pub async fn make(source: Option<&Source>, to: &Path, options: &QemuOptions, cx: &BuildCx) -> Result<()> {
    let Some(source) = source else {
        crate::host::atomic::remove(to);
        let size = options.disk_size.map_or(EMPTY_SIZE, |size| size.0);
        return qemu_img::create(to, DiskFormat::Qcow2, size).await;
    };
    let size = match options.disk_size {
        Some(wanted) if wanted.0 < source.info.virtual_size => {
            return Err(Error::new(
                Kind::Option,
                format!(
                    "option `disk_size`: {} bytes are less than the {} of {}",
                    wanted.0,
                    source.info.virtual_size,
                    source.path.display()
                ),
            )
            .hint("a disk can only be enlarged: leave `disk_size` out, or make it larger"));
        }
        Some(wanted) if wanted.0 > source.info.virtual_size => Some(wanted.0),
        _ => None,
    };
    crate::host::atomic::remove(to);
    if options.use_backing_file.unwrap_or(true) {
        return qemu_img::create_overlay(&source.path, &source.info.format, to, size).await;
    }
    let progress = cx.ui.progress(format!("copying {}", source.path.display()), Some(100), Unit::Percent);
    let conversion = Conversion {
        source: &source.path,
        source_format: Some(&source.info.format),
        target: to,
        format: DiskFormat::Qcow2,
        compress: false,
        compact: true,
        options: &[],
    };
    qemu_img::convert(&conversion, |percent| progress.set(whole(percent))).await?;
    match size {
        Some(size) => qemu_img::resize(to, "qcow2", size).await,
        None => Ok(()),
    }
}

/// Returns a percentage without its fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
pub fn whole(percent: f64) -> u64 {
    percent.clamp(0.0, 100.0) as u64
}
