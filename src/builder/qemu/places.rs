//! Where CD drives are attached: the places on the machine's own IDE or SATA controller, or a controller for them.

use super::arguments::Part;

/// What CD drives may hang on, as users write it.
pub const CDROM_INTERFACES: [&str; 5] = ["ide", "sata", "scsi", "virtio-scsi", "virtio"];

/// The controller that the machine has on its board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// `pc`: two IDE buses of two places.
    Ide,
    /// `q35`: six SATA buses of one place.
    Sata,
    None,
}

/// The places of a machine that are still free.
pub struct Places {
    board: Board,
    /// As QEMU's `index` counts them.
    taken: [bool; 6],
    controller: Option<&'static str>,
}

impl Places {
    /// Returns the places that the machine's disks and the user's own drives leave free. Disks come first, as the
    /// machine's firmware counts them.
    pub fn new(board: Board, disks: usize, given: &[Vec<String>]) -> Places {
        let mut places = Places { board, taken: [false; 6], controller: None };
        for index in (0..disks).chain(given.iter().flat_map(|group| user_index(group))) {
            if let Some(place) = places.taken.get_mut(index) {
                *place = true;
            }
        }
        places
    }

    /// Returns `bus=…,unit=…` of a place for a disk by its number.
    pub fn of_disk(&self, number: usize) -> String {
        self.name(number)
    }

    fn name(&self, index: usize) -> String {
        match self.board {
            Board::Ide => format!("bus=ide.{},unit={}", index / 2, index % 2),
            Board::Sata | Board::None => format!("bus=ide.{index},unit=0"),
        }
    }

    /// Takes a free place for a CD: from the second bus on, where systems expect it, then whatever is left.
    fn take(&mut self) -> Option<String> {
        let order: &[usize] = match self.board {
            Board::Ide => &[2, 3, 1, 0],
            Board::Sata => &[2, 3, 4, 5, 1, 0],
            Board::None => &[],
        };
        let index = order.iter().copied().find(|index| self.taken.get(*index) == Some(&false))?;
        *self.taken.get_mut(index)? = true;
        Some(self.name(index))
    }

    /// Returns the arguments that attach `file` (escaped) as a CD; none when there is no place left for it.
    pub fn cdrom(
        &mut self,
        interface: &str,
        id: &str,
        file: &str,
        bootindex: Option<u32>,
    ) -> Option<Vec<(Part, &'static str, String)>> {
        let own = |flag, value: String| (Part::Own, flag, value);
        let mut arguments = Vec::new();
        let device = match interface {
            "virtio" => "virtio-blk-pci".to_owned(),
            "scsi" => self.behind("lsi53c895a", "scsi-cd,bus=rimg-cds.0", &mut arguments),
            "virtio-scsi" => self.behind("virtio-scsi-pci", "scsi-cd,bus=rimg-cds.0", &mut arguments),
            "sata" if self.board != Board::Sata => {
                // Devices on SATA ports must be told theirs.
                let port = id.trim_start_matches(|c: char| !c.is_ascii_digit());
                let device = format!("ide-cd,bus=rimg-cds.{port}");
                self.behind("ich9-ahci", &device, &mut arguments)
            }
            _ => format!("ide-cd,{}", self.take()?),
        };
        let media = if interface == "virtio" { "" } else { ",media=cdrom" };
        arguments.push(own("-drive", format!("file={file},format=raw,if=none,id={id},readonly=on{media}")));
        let boot = bootindex.map(|index| format!(",bootindex={index}")).unwrap_or_default();
        arguments.push(own("-device", format!("{device},drive={id}{boot}")));
        Some(arguments)
    }

    /// Returns the device, after adding the controller it hangs on unless that is there.
    fn behind(
        &mut self,
        controller: &'static str,
        device: &str,
        arguments: &mut Vec<(Part, &'static str, String)>,
    ) -> String {
        if self.controller.is_none() {
            self.controller = Some(controller);
            arguments.push((Part::Own, "-device", format!("{controller},id=rimg-cds")));
        }
        device.to_owned()
    }
}

/// Returns the IDE place that one of the user's own arguments takes by name.
fn user_index(group: &[String]) -> Option<usize> {
    let (flag, rest) = group.split_first()?;
    let value = rest.concat();
    let property =
        |name: &str| value.split(',').find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    match flag.as_str() {
        "-cdrom" | "-hdc" => Some(2),
        "-hda" => Some(0),
        "-hdb" => Some(1),
        "-hdd" => Some(3),
        "-drive" if property("if").is_none_or(|name| name == "ide") => property("index")?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buses(places: &mut Places, count: usize) -> Vec<String> {
        (0..count).map_while(|_| places.take()).collect()
    }

    #[test]
    fn cds_take_the_places_that_are_left() {
        let mut places = Places::new(Board::Ide, 1, &[]);
        let taken = buses(&mut places, 9);
        assert_eq!(taken, ["bus=ide.1,unit=0", "bus=ide.1,unit=1", "bus=ide.0,unit=1"]);
        let given = [vec!["-cdrom".to_owned(), "x.iso".to_owned()]];
        assert_eq!(buses(&mut Places::new(Board::Ide, 0, &given), 1), ["bus=ide.1,unit=1"]);
        let given = [vec!["-drive".to_owned(), "file=x,if=ide,".to_owned(), "index=3".to_owned()]];
        assert_eq!(buses(&mut Places::new(Board::Sata, 0, &given), 2), ["bus=ide.2,unit=0", "bus=ide.4,unit=0"]);
        assert!(buses(&mut Places::new(Board::None, 0, &[]), 1).is_empty());
    }
}
