//! Where everything is in an image.

use super::bytes::SECTOR;
use super::view::View;
use super::volume::Volume;
use crate::error::{Error, Kind, Result};

/// Where everything is in an image.
pub(super) struct Layout {
    pub(super) primary: View,
    pub(super) joliet: View,
    /// Sector and size of each file.
    pub(super) files: Vec<(u32, u32)>,
    /// Sectors in all.
    pub(super) total: u32,
}

impl Layout {
    pub(super) fn of(volume: &Volume, sizes: &[u32]) -> Result<Layout> {
        let mut primary = View::of(volume, false);
        let mut joliet = View::of(volume, true);
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
        let files = sizes
            .iter()
            .map(|&size| Ok((take(u64::from(size.div_ceil(SECTOR as u32)))?, size)))
            .collect::<Result<_>>()?;
        let total = take(0)?;
        Ok(Layout { primary, joliet, files, total })
    }
}
