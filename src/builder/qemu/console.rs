//! A guest's screen as a PNG picture.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::qmp::Qmp;
use crate::console::screen::parse_ppm;
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::host::atomic;

const LIMIT: Duration = Duration::from_secs(10);

/// Writes what the guest shows to `to` as PNG, whole or not at all. `dir` is a private folder for the raw picture.
pub async fn screenshot(qmp: &Qmp, dir: &Path, to: &Path) -> Result<()> {
    let raw = draw(qmp, dir).await?;
    let to = to.to_owned();
    tokio::task::spawn_blocking(move || atomic::write(&to, &ppm_to_png(&raw.read()?)?).map(drop))
        .await
        .context(Kind::Internal, "drawing the screen was interrupted")?
}

/// Has QEMU draw the screen into a pixmap in a private folder.
pub async fn draw(qmp: &Qmp, dir: &Path) -> Result<Temporary> {
    let raw = Temporary::new(dir, "ppm");
    let dump = qmp.execute("screendump", json!({ "filename": raw.0.display().to_string() }));
    let drawn = tokio::time::timeout(LIMIT, dump).await;
    let drawn = drawn.map_err(|_| Error::new(Kind::Machine, "QEMU did not draw the screen in time"))?;
    drawn.map_err(|error| {
        let error = match error.message().contains("no console") {
            true => Error::new(Kind::Unsupported, "this machine has no screen").caused_by(error),
            false => error,
        };
        error.within("no picture of the screen")
    })?;
    Ok(raw)
}

/// A file that QEMU writes, and that goes away with the value.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Picks a name in a private folder.
    pub fn new(dir: &Path, extension: &str) -> Temporary {
        Temporary(dir.join(format!("screen-{}.{extension}", uuid::Uuid::new_v4().simple())))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.0).map_err(|e| io_error("read", &self.0, e))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        atomic::remove(&self.0);
    }
}

/// Turns QEMU's portable pixmap into PNG.
fn ppm_to_png(ppm: &[u8]) -> Result<Vec<u8>> {
    let (width, height, pixels) = parse_ppm(ppm)?;
    let mut png = Vec::new();
    let cannot = "cannot write the picture of the screen";
    let mut encoder = png::Encoder::new(&mut png, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().context(Kind::Internal, cannot)?;
    writer.write_image_data(pixels).context(Kind::Internal, cannot)?;
    writer.finish().context(Kind::Internal, cannot)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pixmap_becomes_the_same_picture() {
        let png = ppm_to_png(b"P6\n# QEMU\n2 1\n255\n\x01\x02\x03\xff\x00\n").unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (2, 1));
        assert_eq!(&pixels[..6], b"\x01\x02\x03\xff\x00\n");
        assert!(ppm_to_png(b"P6\n2 1\n255\n\x01\x02").is_err());
        assert!(ppm_to_png(b"P6\n99999999 1\n255\n").is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = ppm_to_png(&bytes);
            let _ = ppm_to_png(&[b"P6 3 3 255 ".as_slice(), &bytes].concat());
        }
    }
}
