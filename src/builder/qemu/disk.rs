//! The machine's disk: an overlay on the source image, a copy of it, or an empty one.

use std::path::{Path, PathBuf};

use super::disk_options::DiskOptions;
use super::options::QemuOptions;
use super::source::ImageSource;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};
use crate::host::qemu_img::{self, Conversion, DiskFormat, ImageInfo};
use crate::ui::event::Unit;

/// The size of a disk that nobody gave one, as in Packer.
const EMPTY_SIZE: u64 = 40 << 30;

/// The image a machine starts from, found and described.
#[derive(Debug, Clone)]
pub struct Source {
    pub path: PathBuf,
    pub info: ImageInfo,
}

/// Finds the source image, fetching it where it is a URL; none when the disk starts empty. `medium` is what `iso_url` gave,
/// where that is to be the image.
pub async fn find(options: &QemuOptions, medium: Option<PathBuf>, cx: &BuildCx) -> Result<Option<Source>> {
    let checksum = options.source_checksum.as_deref();
    let (path, option) = match (&options.source_image, medium) {
        (_, Some(medium)) => (medium, "iso_url"),
        (Some(ImageSource::Path(path)), None) => {
            let path = cx.settings.resolve(path);
            match checksum {
                Some(_) => (super::source::fetch(&path.display().to_string(), checksum, cx).await?, "source_image"),
                None => (path, "source_image"),
            }
        }
        (Some(ImageSource::Artifact(artifact)), None) => (ImageSource::artifact_image(artifact)?, "source_image"),
        (Some(ImageSource::Url(url)), None) => (super::source::fetch(url, checksum, cx).await?, "source_image"),
        (None, None) => return Ok(None),
    };
    let info = qemu_img::info(&path, None).await.map_err(|e| e.within(format_args!("option `{option}`")))?;
    Ok(Some(Source { path, info }))
}

/// Returns where a machine's disks are, the first one first; the others are named as in Packer.
pub fn paths(options: &DiskOptions, dir: &Path) -> Vec<PathBuf> {
    let name = |number: usize| if number == 0 { "disk.qcow2".into() } else { format!("disk.qcow2-{number}") };
    (0..options.count()).map(|number| dir.join(name(number))).collect()
}

/// Makes the disks at `to` (qcow2), replacing those that are there.
pub async fn make(source: Option<&Source>, to: &[PathBuf], options: &DiskOptions, cx: &BuildCx) -> Result<()> {
    let Some((first, more)) = to.split_first() else { return Ok(()) };
    let create = &options.qemu_img_args.create;
    match source {
        Some(source) => make_of(source, first, options, cx).await?,
        None => {
            crate::host::atomic::remove(first);
            let size = options.disk_size.map_or(EMPTY_SIZE, |size| size.0);
            qemu_img::create(first, DiskFormat::Qcow2, size, create).await?;
        }
    }
    for (path, size) in more.iter().zip(&options.disk_additional_size) {
        crate::host::atomic::remove(path);
        qemu_img::create(path, DiskFormat::Qcow2, size.0, create).await?;
    }
    Ok(())
}

async fn make_of(source: &Source, to: &Path, options: &DiskOptions, cx: &BuildCx) -> Result<()> {
    let size = match options.disk_size {
        _ if options.skip_resize_disk => None,
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
    let more = &options.qemu_img_args;
    crate::host::atomic::remove(to);
    if options.use_backing_file.unwrap_or(true) {
        return qemu_img::create_overlay(&source.path, &source.info.format, to, size, &more.create).await;
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
        more: &more.convert,
    };
    qemu_img::convert(&conversion, |percent| progress.set(whole(percent))).await?;
    match size {
        Some(size) => qemu_img::resize(to, "qcow2", size, &more.resize).await,
        None => Ok(()),
    }
}

/// Returns a percentage without its fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
pub fn whole(percent: f64) -> u64 {
    percent.clamp(0.0, 100.0) as u64
}
