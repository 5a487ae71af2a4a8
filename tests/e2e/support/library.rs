//! The surroundings of a build, for tests that call the library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rimg::engine::{BuildCx, Mode, Resources, Scope, Settings};
use rimg::ui::Ui;

/// A build named `web` in a private folder.
pub struct Library {
    pub dir: tempfile::TempDir,
    pub cx: BuildCx,
}

impl Library {
    pub fn new() -> Library {
        Library::with(|_| {})
    }

    /// Makes one with settings of its own.
    pub fn with(change: impl FnOnce(&mut Settings)) -> Library {
        let dir = tempfile::Builder::new().prefix("rimg-lib-").tempdir().expect("a temporary folder");
        let at = |name: &str| dir.path().join(name);
        let mut settings = Settings {
            mode: Mode::Live,
            force: false,
            on_error: Default::default(),
            debug: false,
            script_dir: dir.path().to_owned(),
            cache_dir: at(".cache"),
            state_dir: at(".state"),
            work_dir: at(".work"),
            abort: Default::default(),
            needs: Default::default(),
        };
        change(&mut settings);
        let cx = BuildCx {
            build: "web".into(),
            scope: Scope::new(),
            resources: Resources::new(),
            machines: Default::default(),
            ui: Ui::silent(),
            settings: Arc::new(settings),
            step: None,
            steps: Default::default(),
            lane: Default::default(),
            replay: None,
        };
        Library { dir, cx }
    }

    /// Returns the same build with other settings.
    pub fn again(&self, change: impl FnOnce(&mut Settings)) -> BuildCx {
        let mut settings = (*self.cx.settings).clone();
        change(&mut settings);
        BuildCx { settings: Arc::new(settings), ..self.cx.clone() }
    }

    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Writes a file, with its parent folders, and returns its path.
    pub fn write(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, bytes).expect("a file of the test");
        path
    }

    /// Returns the names in a folder, hidden ones too.
    pub fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.join(folder)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Tells whether a program is there; in CI it has to be.
pub fn has(program: &str) -> bool {
    let found = rimg::host::process::which(program).is_some();
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Says loudly that a test is not done; in CI that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}, and CI may skip nothing");
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("SKIPPED: {why}");
    }
}

/// Runs a program in a folder and returns its standard output; a failure fails the test.
#[track_caller]
pub fn tool(folder: &Path, program: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(args).current_dir(folder).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {}\n{said}", output.status);
    output.stdout
}

/// Fails unless a file is a whole PNG picture of a screen.
#[track_caller]
pub fn expect_png(path: &Path) {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a whole picture");
    assert!(info.width >= 320 && info.height >= 200, "{} x {}", info.width, info.height);
}
