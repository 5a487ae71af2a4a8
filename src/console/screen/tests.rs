use std::sync::OnceLock;

use proptest::prelude::*;

use super::bits::Bits;
use super::fonts::Font;
use super::*;

/// Glyphs of 8 by 16 pixels for what ASCII prints, no two of them alike: noise with a margin.
fn glyph(code: u8) -> [u8; 16] {
    let mut seed = u64::from(code).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut rows = [0; 16];
    for row in &mut rows[2..13] {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        *row = (seed >> 24) as u8 & 0xfe;
    }
    if code == b' ' { [0; 16] } else { rows }
}

/// A font of these glyphs.
fn font() -> &'static [Font] {
    static FONT: OnceLock<Vec<Font>> = OnceLock::new();
    FONT.get_or_init(|| {
        let crc = |code: u8| {
            let pixels = glyph(code).map(|row| std::array::from_fn::<u32, 8, _>(|x| u32::from(row >> (7 - x) & 1)));
            Bits::of(8, pixels.iter().map(<[u32; 8]>::as_slice), |colour| colour == 1).crc()
        };
        let mut table: Vec<(u32, u16)> = (33..127).map(|code| (crc(code), u16::from(code))).collect();
        table.sort_unstable();
        let crcs: Vec<[u8; 4]> = table.iter().map(|(crc, _)| crc.to_le_bytes()).collect();
        let chars: Vec<[u8; 2]> = table.iter().map(|(_, char)| char.to_le_bytes()).collect();
        vec![Font::new(8, 16, crcs.leak(), chars.leak())]
    })
}

/// A screen to paint on.
struct Canvas {
    width: usize,
    height: usize,
    colours: Vec<u32>,
}

impl Canvas {
    fn new(width: usize, height: usize, ground: u32) -> Canvas {
        Canvas { width, height, colours: vec![ground; width * height] }
    }

    fn cell(&mut self, x: usize, y: usize, rows: &[u8], ink: u32, ground: u32) {
        for (down, row) in rows.iter().enumerate() {
            for right in 0..8 {
                let colour = if row >> (7 - right) & 1 == 1 { ink } else { ground };
                self.colours[(y + down) * self.width + x + right] = colour;
            }
        }
    }

    fn text(&mut self, x: usize, y: usize, step: usize, text: &str, (ink, ground): (u32, u32)) {
        for (index, code) in text.bytes().enumerate() {
            self.cell(x + index * step, y, &glyph(code), ink, ground);
        }
    }

    fn pixels(self) -> Pixels {
        Pixels::new(self.width, self.height, self.colours).unwrap()
    }
}

fn read(canvas: Canvas) -> Vec<String> {
    let text = Recognizer::new(font()).read(&canvas.pixels());
    text.rows.into_iter().map(|row| row.trim().to_owned()).filter(|row| !row.is_empty()).collect()
}

/// Two colours that can be told apart.
fn colours() -> impl Strategy<Value = (u32, u32)> {
    (0..0x100_0000u32, 0..0x100_0000u32)
        .prop_filter("too alike", |(a, b)| a.to_be_bytes().iter().zip(b.to_be_bytes()).any(|(a, b)| a.abs_diff(b) > 40))
}

#[test]
fn the_table_of_fonts_is_whole() {
    let fonts = fonts::standard();
    assert_eq!((fonts[0].width, fonts[0].height), (8, 16));
    assert!(fonts.iter().all(|font| font.width <= bits::MAX_WIDTH && font.height <= bits::MAX_HEIGHT));
    // VGA's letter A, Linux's, EDK II's, as they are on real screens.
    let vga = [0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6, 0, 0, 0, 0];
    assert_eq!(fonts[0].character(crc32fast::hash(&vga)), Some('A'));
    let efi = [0, 0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6, 0xc6, 0, 0, 0, 0];
    assert_eq!(fonts::of_size(8, 19).unwrap().character(crc32fast::hash(&efi)), Some('A'));
    assert_eq!(fonts[0].character(12345), None);
}

#[test]
fn code_page_437_is_whole() {
    let all: String = (0..=255).map(codepage::cp437).collect();
    assert_eq!(all.chars().count(), 256);
    assert!(all.starts_with(" ☺☻") && all.contains("▲▼ !\"#") && all.contains("}~⌂Çü") && all.ends_with("ⁿ²■ "));
    assert_eq!((codepage::cp437(0xc4), codepage::cp437(0xb3), codepage::cp437(0xdb)), ('─', '│', '█'));
}

#[test]
fn cursors_bars_and_lines_do_no_harm() {
    let plain = (0xaaaaaa, 0);
    let mut canvas = Canvas::new(320, 96, 0);
    canvas.text(0, 0, 8, "login: root", plain);
    // A cursor behind the text, one on a letter, a block, and a row in inverse video.
    canvas.cell(88, 0, &[&[0; 14][..], &[0xff; 2]].concat(), 0xaaaaaa, 0);
    let mut letter = glyph(b'x');
    letter[14] ^= 0xff;
    letter[15] ^= 0xff;
    canvas.text(0, 16, 8, "e", plain);
    canvas.cell(8, 16, &letter, 0xaaaaaa, 0);
    canvas.text(16, 16, 8, "pert", (0, 0xaaaaaa));
    canvas.text(0, 32, 8, " Selected entry  ", (0, 0xffffff));
    canvas.cell(0, 48, &[0x18; 16], 0xaaaaaa, 0);
    canvas.cell(8, 48, &[&[0; 7][..], &[0xff; 2], &[0; 7]].concat(), 0xaaaaaa, 0);
    canvas.cell(16, 48, &[0x0f; 16].map(|row: u8| row ^ 0x81), 0xaaaaaa, 0);
    canvas.cell(24, 48, &[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 0xaaaaaa, 0);
    assert_eq!(read(canvas), ["login: root", "expert", "Selected entry", "│─│\u{fffd}"]);
}

#[test]
fn text_on_two_grids_is_put_together() {
    let mut canvas = Canvas::new(400, 120, 0);
    canvas.text(3, 5, 8, "GRUB version", (0xffffff, 0));
    canvas.text(3, 21, 8, "first entry here", (0xffffff, 0));
    canvas.text(200, 26, 8, "beside", (0xffffff, 0));
    canvas.text(40, 90, 8, "press enter", (0xff, 0));
    assert_eq!(read(canvas), ["GRUB version", "first entry here         beside", "press enter"]);
}

#[test]
fn text_over_a_picture_is_read_where_it_stands_out() {
    let mut canvas = Canvas::new(400, 60, 0);
    for (index, colour) in canvas.colours.iter_mut().enumerate() {
        let grey = 60 + (index % 400 / 8 + index / 400) as u32 % 90;
        *colour = grey << 16 | grey << 8 | grey;
    }
    let ground = canvas.colours.clone();
    canvas.text(16, 20, 8, "Graphical install", (0xffffff, 1));
    for (colour, ground) in canvas.colours.iter_mut().zip(ground) {
        if *colour == 1 {
            *colour = ground;
        }
    }
    assert_eq!(read(canvas), ["Graphical install"]);
}

#[test]
fn a_screen_without_text_is_empty() {
    assert!(read(Canvas::new(64, 64, 7)).is_empty());
    assert!(read(Canvas::new(1, 1, 7)).is_empty());
    let mut canvas = Canvas::new(64, 64, 7);
    canvas.cell(9, 9, &[0x55; 16], 9, 7);
    assert!(read(canvas).is_empty());
}

#[test]
fn pixmaps_are_taken_apart() {
    let pixels = Pixels::from_ppm(b"P6\n# QEMU\n2 1\n255\n\x01\x02\x03\xff\x00\n").unwrap();
    assert_eq!(pixels, Pixels::new(2, 1, vec![0x010203, 0xff000a]).unwrap());
    for wrong in [&b"P6\n2 1\n255\n\x01\x02"[..], b"P6\n99999999 1\n255\n", b"P5\n1 1\n255\n\x01", b""] {
        assert!(Pixels::from_ppm(wrong).is_err());
    }
}

/// Memory of a text mode and its picture from `start` on, 80 cells in a row; codes are ASCII.
fn text_screen(cells: &[(u8, u8)], start: usize) -> (Pixels, Vec<u8>) {
    let mut memory: Vec<u8> = [b' ', 7].repeat(MEMORY.1 / 2);
    let mut canvas = Canvas::new(720, 400, 0);
    for (index, &(code, attribute)) in cells.iter().take(2000).enumerate() {
        memory[(start + index) * 2..][..2].copy_from_slice(&[code, attribute]);
        let colour = |bits: u8| u32::from(bits) * 0x1f_1f1f + 1;
        let (x, y) = (index % 80 * 9, index / 80 * 16);
        canvas.cell(x, y, &glyph(code), colour(attribute & 7), colour(attribute >> 4 & 7));
        canvas.cell(x + 1, y, &[0; 16], 0, colour(attribute >> 4 & 7));
        canvas.cell(x, y, &glyph(code), colour(attribute & 7), colour(attribute >> 4 & 7));
    }
    (canvas.pixels(), memory)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 12 } else { 200 }))]

    #[test]
    fn text_is_read_back_wherever_and_however_it_is_painted(
        lines in prop::collection::vec("[a-zA-Z0-9]{3,8}( [!-~]{1,6}){0,3}", 1..5),
        (x, y) in (0..20usize, 0..20usize),
        colours in colours(),
        wide in any::<bool>(),
        again in any::<bool>(),
    ) {
        let step = if wide { 9 } else { 8 };
        let mut canvas = Canvas::new(360, 110, colours.1);
        for (row, line) in lines.iter().enumerate() {
            canvas.text(x, y + row * 16, step, line, colours);
        }
        let pixels = canvas.pixels();
        let mut recognizer = Recognizer::new(font());
        let mut text = recognizer.read(&pixels);
        if again {
            text = recognizer.read(&pixels);
        }
        let shown: Vec<&str> = text.rows.iter().map(|row| row.trim()).filter(|row| !row.is_empty()).collect();
        prop_assert_eq!(shown, lines.iter().map(|line| line.trim()).collect::<Vec<_>>());
    }

    #[test]
    fn any_pixels_are_survived(
        width in 1..90usize,
        colours in prop::collection::vec(prop_oneof![Just(0u32), Just(0xffffff), Just(0xaaaaaa), any::<u32>()], 0..3000),
        standard in any::<bool>(),
    ) {
        let height = colours.len() / width;
        let colours = colours[..width * height].to_vec();
        if let Some(pixels) = Pixels::new(width, height, colours) {
            let mut recognizer = if standard { Recognizer::default() } else { Recognizer::new(font()) };
            recognizer.read(&pixels);
            recognizer.read(&pixels);
            text_mode(&pixels, &[1; 4000]);
        }
    }

    #[test]
    fn a_text_mode_is_read_from_where_it_is_shown(
        cells in prop::collection::vec((prop_oneof![3 => Just(b' '), 1 => 33..127u8], prop_oneof![Just(7u8), Just(0x70), Just(0x1f)]), 2000),
        row in 0..150usize,
    ) {
        let (pixels, memory) = text_screen(&cells, row * 80);
        let text = text_mode(&pixels, &memory).expect("a text mode");
        let rows: Vec<String> = cells.chunks(80).map(|row| row.iter().map(|&(code, _)| char::from(code)).collect()).collect();
        let rows: Vec<&str> = rows.iter().map(|row| row.trim_end()).collect();
        prop_assert_eq!(text.rows, rows);
    }

    #[test]
    fn memory_that_does_not_fit_the_picture_is_not_text(memory in prop::collection::vec(any::<u8>(), 0..0x8000)) {
        let cells: Vec<(u8, u8)> = (0..2000).map(|n| (33 + (n % 94) as u8, 7)).collect();
        let (pixels, _) = text_screen(&cells, 0);
        prop_assert_eq!(text_mode(&pixels, &memory), None);
    }

    #[test]
    fn any_pixmap_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = Pixels::from_ppm(&bytes);
        let _ = Pixels::from_ppm(&[b"P6 3 3 255 ".as_slice(), &bytes].concat());
    }
}
