//! Text on screens.

use super::source::Source;
use crate::console::screen::{Pixels, Recognizer, parse_ppm, text_mode};

/// Whatever is on a screen, it is read in time, as often as asked, and as rows that fit on it.
pub(super) fn holds(data: &[u8]) {
    if let Ok((width, height, pixels)) = parse_ppm(data) {
        assert_eq!(pixels.len(), width as usize * height as usize * 3);
    }
    let mut source = Source::new(data);
    let colours = [0, 0xff_ffff, 0xaa_aaaa, 0x00_00aa, u32::from(source.byte()) << 8];
    // A text mode's size now and then, with whatever is in its memory.
    let (width, height) = if source.below(8) == 7 { (640, 200) } else { (1 + source.below(48), 1 + source.below(40)) };
    let pattern: Vec<u32> = (0..1 + source.below(64)).map(|_| source.pick(&colours)).collect();
    let shift = source.below(7);
    let colour = |n: usize| pattern.get((n + n / width * shift) % pattern.len()).copied().unwrap_or_default();
    let pixels = Pixels::new(width, height, (0..width * height).map(colour).collect()).expect("a picture");
    let memory: Vec<u8> = data.iter().copied().cycle().take(data.len().min(1) * 0x4000).collect();
    if let Some(text) = text_mode(&pixels, &memory) {
        assert!(text.rows.len() <= height / 8);
    }
    let mut recognizer = Recognizer::default();
    let first = recognizer.read(&pixels);
    assert!(first.rows.iter().all(|row| row.chars().count() <= width), "{first:?}");
    assert_eq!(recognizer.read(&pixels), first);
}
