//! Places for tests that keep processors busy, such as those of emulated guests: more of them at once than the host has processors
//! for would only make each other late. What waits for a network, a clock or a server takes none, and runs beside them.

use std::sync::{Condvar, Mutex};

/// Fills a host of two processors: guests have two each.
const PLACES: usize = 2;

static FREE: Mutex<usize> = Mutex::new(PLACES);
static FREED: Condvar = Condvar::new();

/// A place; free again when it is dropped.
pub struct Place(());

/// Waits for a place. Who has one takes no second.
pub fn take() -> Place {
    let free = FREE.lock().expect("places");
    *FREED.wait_while(free, |free| *free == 0).expect("places") -= 1;
    Place(())
}

impl Drop for Place {
    fn drop(&mut self) {
        *FREE.lock().expect("places") += 1;
        FREED.notify_one();
    }
}
