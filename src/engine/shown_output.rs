//! What a command says, shown as it comes.

use super::communicator::OutputSink;
use crate::ui::{Stream, Ui};

/// Shows the lines that a command of a machine writes.
pub struct ShownOutput {
    ui: Ui,
    machine: String,
}

impl ShownOutput {
    pub fn new(ui: &Ui, machine: &str) -> ShownOutput {
        ShownOutput { ui: ui.clone(), machine: machine.to_owned() }
    }

    fn show(&self, stream: Stream, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.ui.output(&self.machine, stream, line);
        }
    }
}

impl OutputSink for ShownOutput {
    fn stdout(&mut self, bytes: &[u8]) {
        self.show(Stream::Stdout, bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.show(Stream::Stderr, bytes);
    }
}
