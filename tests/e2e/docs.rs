//! The documentation: every page is a chapter, every link leads somewhere, and the reference is what the annotations say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::support::library::has;
use super::support::place;
use super::support::rimg::{Run, Sandbox};
use rimg::error::Kind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lists the Markdown files below a folder.
pub fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

/// Returns a page's lines without its blocks of code, and without code in a line.
fn prose(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if !fence && !fenced {
            lines.push(line.split('`').step_by(2).collect());
        }
        fenced ^= fence;
    }
    assert!(!fenced, "a block of code has no end");
    lines
}

/// Returns the targets of the links in a page.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).join("\n");
    prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// Returns the anchors of a page's headings, as mdBook and code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let Some((marks, title)) = line.split_once(' ') else { continue };
        if fenced || marks.is_empty() || !marks.chars().all(|c| c == '#') {
            continue;
        }
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ');
        let anchor = title.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
        let count = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

#[test]
fn every_page_is_a_chapter() {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let chapters: BTreeSet<PathBuf> = links(&summary).into_iter().map(|link| docs.join(link)).collect();
    let pages: BTreeSet<PathBuf> =
        pages_below(&docs).into_iter().filter(|page| !page.ends_with("SUMMARY.md")).collect();
    let missing: Vec<_> = pages.difference(&chapters).collect();
    assert!(missing.is_empty(), "docs/SUMMARY.md does not have {missing:?}");
    let stale: Vec<_> = chapters.difference(&pages).collect();
    assert!(stale.is_empty(), "docs/SUMMARY.md has pages that are not there: {stale:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let docs = root().join("docs");
    let mut pages = pages_below(&docs);
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "stdlib/README.md", "tests/fuzz/README.md"] {
        pages.push(root().join(page));
    }
    let mut broken = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let found = target.exists()
                && (anchor.is_empty() || {
                    std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor))
                });
            // The website has nothing but docs/.
            let inside = || target.canonicalize().is_ok_and(|target| target.starts_with(&docs));
            if !found || page.starts_with(&docs) && !inside() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
        for include in text.split("{{#").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(inside, _)| inside) {
            let file = include.split_whitespace().nth(1).unwrap_or_default().split(':').next().unwrap();
            if !page.parent().unwrap().join(file).is_file() {
                broken.push(format!("{}: {{{{#{include}}}}}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_reference_is_what_the_annotations_and_the_commands_say() {
    let sandbox = Sandbox::new();
    let docs = root().join("docs");
    sandbox.write("SUMMARY.md", std::fs::read(docs.join("SUMMARY.md")).unwrap());
    let mut command = sandbox.command(["run"]);
    command.arg(docs.join("reference.lua")).args(["-v", &format!("out={}", sandbox.path().display())]);
    Run::of(&mut command).expect_code(0);
    let again = "differs: `cargo run -- run docs/reference.lua` writes it again";
    let file = |path: &Path| std::fs::read_to_string(path).unwrap();
    let relative = |folder: &Path| -> Vec<PathBuf> {
        let pages = pages_below(&folder.join("reference"));
        pages.iter().map(|page| page.strip_prefix(folder).unwrap().to_owned()).collect()
    };
    let pages = relative(sandbox.path());
    assert_eq!(relative(&docs), pages, "docs/reference/ {again}");
    for page in pages.iter().map(PathBuf::as_path).chain([Path::new("SUMMARY.md")]) {
        assert!(file(&docs.join(page)) == file(&sandbox.join(page)), "docs/{} {again}", page.display());
    }
}

#[test]
fn every_kind_of_error_is_annotated() {
    let types = std::fs::read_to_string(root().join("lua/types/rimg.lua")).unwrap();
    let alias = types.split("---@alias rimg.ErrorKind\n").nth(1).unwrap();
    let annotated: Vec<&str> = alias
        .lines()
        .map_while(|line| line.strip_prefix("---| \""))
        .filter_map(|line| line.split('"').next())
        .collect();
    let kinds: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(annotated, kinds, "rimg.ErrorKind in lua/types/rimg.lua");
}

/// The script of the tutorial as a reader has it by and by: each block where the text says that it goes.
struct Tutorial {
    first: String,
    /// With the mistake that it makes on purpose.
    wrong: String,
    mended: String,
    tested: String,
    greeting: String,
}

fn tutorial() -> Tutorial {
    let text = std::fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let blocks: Vec<&str> = text.split("```lua\n").skip(1).map(|block| block.split("```").next().unwrap()).collect();
    let [first, pages, tested, greeting] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let replaced = |script: &str, from: &str, to: &str| {
        assert_eq!(script.matches(from).count(), 1, "{from} in {script}");
        script.replace(from, to)
    };
    let active = "  vm:run \"systemctl is-active nginx\"\n";
    let wrong = replaced(first, active, &format!("{active}{pages}"));
    let mended = replaced(&wrong, "eo.html", "de.html");
    let tested = replaced(&mended, "  vm:finish { output_directory = \"out/web\" }\n", tested);
    let script = replaced(&tested, "\"Built by rimg\"", "greeting");
    let greeting = replaced(&script, "\nrimg.build(", &format!("\n{greeting}\nrimg.build("));
    Tutorial { first: first.into(), wrong, mended, tested, greeting }
}

#[test]
fn the_tutorials_script_passes_rimg_check_at_its_end() {
    let sandbox = Sandbox::new();
    sandbox.write("build.lua", tutorial().greeting);
    sandbox.rimg(["check", "build.lua"]).expect_code(0);
    let inspected = sandbox.rimg(["inspect", "build.lua"]).expect_code(0);
    assert!(inspected.stdout.contains("greeting") && inspected.stdout.contains("web"), "{}", inspected.stdout);
}

/// What the tutorial says that one sees, seen.
#[test]
fn the_tutorial_does_what_it_says() {
    if !["mmdebstrap", "qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return;
    }
    let _place = place::take();
    let tutorial = tutorial();
    let sandbox = Sandbox::new();
    let run = |script: &str, args: &[&str]| {
        sandbox.write("build.lua", script);
        let run = Run::of(sandbox.command(["run", "build.lua"]).args(args));
        sandbox.assert_clean_after(&run);
        run
    };
    let says = |run: &Run, lines: &[&str]| {
        for line in lines {
            assert!(run.stdout.contains(line), "{line:?} is not in\n{}{}", run.stdout, run.stderr);
        }
    };
    let image = || std::fs::metadata(sandbox.join("out/web/web.qcow2")).unwrap().modified().unwrap();

    let first = run(&tutorial.first, &[]).expect_code(0);
    says(
        &first,
        &[
            "web | write /var/www/html/index.html",
            "web | run systemctl is-active nginx",
            "web |     active",
            "web: qemu image",
        ],
    );
    let made = image();
    let again = run(&tutorial.first, &[]).expect_code(0);
    let cached =
        ["web | boot (cached)", "web | write /var/www/html/index.html (cached)", "5 operations replayed, 0 run"];
    says(&again, &cached);

    let wrong = run(&tutorial.wrong, &["--force"]).expect_code(1);
    let wrong = wrong.expect_errors(&["eo.html", "--> build.lua:", "404", "status 22"]);
    says(&wrong, &cached[..2]);
    assert_eq!(image(), made, "the image is the old one");
    let mended = run(&tutorial.mended, &["--force", "--explain"]).expect_code(0);
    says(&mended, &["web | write /var/www/html/de.html (cached)"]);
    assert_ne!(image(), made);

    says(
        &run(&tutorial.tested, &["--force"]).expect_code(0),
        &["web | run systemctl is-active nginx (cached)", "smoke test"],
    );
    for file in ["out/web/web.qcow2.sha256", "out/web.box"] {
        assert!(sandbox.join(file).exists(), "{file}");
    }
    let hello = run(&tutorial.greeting, &["--force", "-v", "greeting=Hello"]).expect_code(0);
    says(&hello, &["web | boot (cached)", "web | write /var/www/html/index.html (cached)"]);
}
