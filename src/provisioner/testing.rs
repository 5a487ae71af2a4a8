//! A machine for unit tests: its commands run in a real shell on this host, its connection can be dropped.

use std::sync::{Arc, Mutex};

use crate::engine::testing::folder::{Behaviour, FolderMachine};
use crate::engine::testing::guest::Guest;
use crate::engine::{Mode, Session, testing};
use crate::ui::{Event, Renderer, Stamped, Ui, UiThread};

/// A session with all that a test wants to look at.
pub struct Bench {
    pub session: Arc<Session>,
    pub dir: tempfile::TempDir,
    seen: Arc<Mutex<Vec<String>>>,
    guest: Arc<Guest>,
    ui: UiThread,
}

struct Lines(Arc<Mutex<Vec<String>>>);

impl Renderer for Lines {
    fn event(&mut self, stamped: &Stamped) {
        let line = match &stamped.event {
            Event::Output { stream, line, .. } => format!("{stream:?}: {line}").to_lowercase(),
            Event::Message { text, .. } => format!("message: {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Bench {
    #[expect(clippy::new_without_default, reason = "a test's bench is always made on purpose")]
    pub fn new() -> Bench {
        Bench::make(Mode::Live)
    }

    pub fn pretended() -> Bench {
        Bench::make(Mode::Check)
    }

    fn make(mode: Mode) -> Bench {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (ui, ui_thread) = Ui::start(vec![Box::new(Lines(seen.clone()))]);
        let (dir, cx) = testing::surroundings(mode, ui);
        let machine = FolderMachine::new(dir.path().join("machine"), Behaviour::default());
        let guest = machine.guest.clone();
        let session = match mode {
            Mode::Live => Session::new(Arc::new(machine), cx),
            _ => Session::pretended("vm", cx),
        };
        Bench { session, dir, seen, guest, ui: ui_thread }
    }

    /// Returns a path in the test's folder.
    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Puts a program of the test's own in front of the machine's.
    pub fn program(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.guest.disk().join("bin").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes the machine's user an ordinary one whose sudo works as the real one does: it must be asked with `-n --`,
    /// and clears the environment.
    pub fn unprivileged(&self) {
        self.program("id", "#!/bin/sh\n[ -n \"$AS_ROOT\" ]&&echo 0||echo 1000\n");
        self.program(
            "sudo",
            "#!/bin/sh\n[ \"$1 $2\" = '-n --' ]||{ echo 'sudo: a password is required' >&2;exit 1;}\nshift 2\n\
             exec env -i PATH=\"$PATH\" AS_ROOT=1 \"$@\"\n",
        );
    }

    /// Writes a file beside the script and returns its name.
    pub fn script(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.dir.path().join("script").join(name), bytes).unwrap();
        name.to_owned()
    }

    /// Returns the output lines and messages seen so far.
    pub fn output(&self) -> Vec<String> {
        self.ui.flush();
        self.seen.lock().unwrap().clone()
    }

    /// Returns the command lines that reached the machine.
    pub fn commands(&self) -> Vec<String> {
        self.guest.commands()
    }

    pub fn connections(&self) -> usize {
        self.guest.connections()
    }

    /// Makes the next command drop its connection when it ends, and the machine boot anew.
    pub fn reboot_after_next(&self) {
        self.guest.reboot_after_next();
    }

    /// Makes the next command that contains `text` do the same.
    pub fn reboot_on(&self, text: &str) {
        self.guest.reboot_on(text);
    }
}
