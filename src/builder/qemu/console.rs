//! A guest's screen as a PNG picture.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::qmp::Qmp;
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::host::atomic;

const LIMIT: Duration = Duration::from_secs(10);
/// No screen of a guest is wider or higher.
const MAX_SIDE: u32 = 16_384;

/// Writes what the guest shows to `to` as PNG, whole or not at all. `dir` is a private folder for the raw picture.
pub async fn screenshot(qmp: &Qmp, dir: &Path, to: &Path) -> Result<()> {
    let raw = dir.join(format!("screen-{}.ppm", uuid::Uuid::new_v4().simple()));
    let _remove = Remove(raw.clone());
    let dump = qmp.execute("screendump", json!({ "filename": raw.display().to_string() }));
    tokio::time::timeout(LIMIT, dump)
        .await
        .map_err(|_| Error::new(Kind::Machine, "QEMU did not draw the screen in time"))?
        .map_err(|e| e.within("no picture of the screen"))?;
    let (from, to) = (raw, to.to_owned());
    tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&from).map_err(|e| io_error("read", &from, e))?;
        atomic::write(&to, &ppm_to_png(&bytes)?).map(drop)
    })
    .await
    .context(Kind::Internal, "drawing the screen was interrupted")?
}

struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        atomic::remove(&self.0);
    }
}

/// Turns QEMU's portable pixmap (binary, 8 bits a channel) into PNG.
fn ppm_to_png(ppm: &[u8]) -> Result<Vec<u8>> {
    let wrong = || Error::new(Kind::Machine, "QEMU's picture of the screen is not a pixmap");
    let mut rest = ppm;
    let mut word = || -> Option<String> {
        loop {
            let start = rest.iter().position(|b| !b.is_ascii_whitespace())?;
            rest = rest.get(start..)?;
            if rest.first() != Some(&b'#') {
                break;
            }
            rest = rest.get(rest.iter().position(|&b| b == b'\n')?..)?;
        }
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (word, tail) = rest.split_at_checked(end)?;
        rest = tail;
        Some(String::from_utf8_lossy(word).into_owned())
    };
    if word().as_deref() != Some("P6") {
        return Err(wrong());
    }
    let mut number = || word().and_then(|text| text.parse::<u32>().ok());
    let (Some(width), Some(height), Some(255)) = (number(), number(), number()) else { return Err(wrong()) };
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(wrong());
    }
    let pixels = rest.get(1..=width as usize * height as usize * 3).ok_or_else(wrong)?;
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
