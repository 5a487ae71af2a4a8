//! Volume descriptors: what a reader looks at first.

use super::bytes::{SECTOR, both16, both32, put};
use super::joliet;
use super::layout::Layout;
use super::record::{FOLDER, record};

/// 2000-01-01 00:00:00 UTC.
const VOLUME_TIME: &[u8; 17] = b"2000010100000000\0";

/// Returns the descriptor of the primary tree.
pub(super) fn primary(layout: &Layout, label: &str) -> Vec<u8> {
    descriptor(layout, label, false)
}

/// Returns the descriptor of Joliet's tree.
pub(super) fn joliet(layout: &Layout, label: &str) -> Vec<u8> {
    descriptor(layout, label, true)
}

/// Returns what ends the list of descriptors.
pub(super) fn end() -> Vec<u8> {
    let mut end = vec![0u8; SECTOR];
    put(&mut end, 0, b"\xffCD001\x01");
    end
}

fn descriptor(layout: &Layout, label: &str, joliet: bool) -> Vec<u8> {
    let view = if joliet { &layout.joliet } else { &layout.primary };
    let text = |text: &str, width: usize| -> Vec<u8> {
        let mut bytes = if joliet { joliet::ucs2(text) } else { text.as_bytes().to_vec() };
        while bytes.len() < width {
            bytes.extend_from_slice(if joliet { &[0, b' '] } else { b" " });
        }
        bytes.truncate(width);
        bytes
    };
    let table_sectors = view.table_size.div_ceil(SECTOR as u32);
    let mut d = vec![0u8; SECTOR];
    put(&mut d, 0, if joliet { b"\x02CD001\x01" } else { b"\x01CD001\x01" });
    put(&mut d, 8, &text("", 32));
    put(&mut d, 40, &text(label, 32));
    put(&mut d, 80, &both32(layout.total));
    if joliet {
        put(&mut d, 88, b"%/E");
    }
    put(&mut d, 120, &both16(1));
    put(&mut d, 124, &both16(1));
    put(&mut d, 128, &both16(SECTOR as u16));
    put(&mut d, 132, &both32(view.table_size));
    put(&mut d, 140, &view.table_sector.to_le_bytes());
    put(&mut d, 148, &(view.table_sector + table_sectors).to_be_bytes());
    if let Some(root) = view.folders.first() {
        put(&mut d, 156, &record(&[0], root.sector, root.bytes(), FOLDER, &[]));
    }
    for (at, width) in [(190, 128), (318, 128), (446, 128), (574, 128), (702, 37), (739, 37), (776, 37)] {
        put(&mut d, at, &text(if at == 446 { "RIMG" } else { "" }, width));
    }
    put(&mut d, 813, VOLUME_TIME);
    put(&mut d, 830, VOLUME_TIME);
    put(&mut d, 847, b"0000000000000000\0");
    put(&mut d, 864, b"0000000000000000\0");
    put(&mut d, 881, &[1]);
    d
}
