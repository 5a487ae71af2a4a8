//! Where everything is in an image.

use super::bytes::SECTOR;
use super::view::View;
use super::volume::Volume;
use crate::error::{Error, Kind, Result};

/// A file in an image.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) sector: u32,
    pub(super) size: u64,
    pub(super) executable: bool,
}

impl Place {
    pub(super) fn sectors(&self) -> u64 {
        self.size.div_ceil(SECTOR as u64)
    }

    /// Returns the parts that records describe, each by its sector and size: several for a file that is larger than `max`,
    /// a number of whole sectors (ECMA-119, section 9.1.6).
    pub(super) fn extents(self, max: u64) -> impl Iterator<Item = (u32, u32)> {
        let count = self.size.div_ceil(max).max(1);
        (0..count).map(move |n| {
            let start = n * max;
            (self.sector + (start / SECTOR as u64) as u32, (self.size - start).min(max) as u32)
        })
    }
}

/// Where everything is in an image.
pub(super) struct Layout {
    pub(super) primary: View,
    pub(super) joliet: View,
    pub(super) files: Vec<Place>,
    /// Sectors in all.
    pub(super) total: u32,
}

impl Layout {
    pub(super) fn of(volume: &Volume, mut files: Vec<Place>) -> Result<Layout> {
        let mut primary = View::of(volume, &files, false);
        let mut joliet = View::of(volume, &files, true);
        if primary.folders.len() > usize::from(u16::MAX) {
            return Err(Error::new(Kind::Unsupported, "an ISO image cannot have more than 65,535 folders"));
        }
        // After the system area and three descriptors.
        let mut next: u64 = 19;
        let mut take = |sectors: u64| -> Result<u32> {
            let at = u32::try_from(next).map_err(|_| Error::new(Kind::Unsupported, "the ISO image is too large"))?;
            next += sectors;
            Ok(at)
        };
        for view in [&mut primary, &mut joliet] {
            view.table_size = view.path_table(false).len() as u32;
            view.table_sector = take(2 * u64::from(view.table_size.div_ceil(SECTOR as u32)))?;
        }
        for view in [&mut primary, &mut joliet] {
            for folder in &mut view.folders {
                folder.sector = take(u64::from(folder.sectors))?;
            }
        }
        for file in &mut files {
            file.sector = take(file.sectors())?;
        }
        let total = take(0)?;
        Ok(Layout { primary, joliet, files, total })
    }
}
