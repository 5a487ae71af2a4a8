//! Post-processing, judged by the tools that read its outputs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rimg::artifact::checksum::{ChecksumOptions, checksum};
use rimg::artifact::compress::{CompressOptions, compress};
use rimg::artifact::convert::{ConvertOptions, convert};
use rimg::artifact::files::{FilesOptions, destroy, files};
use rimg::artifact::manifest::{ManifestOptions, manifest};
use rimg::artifact::vagrant::{VagrantOptions, vagrant};
use rimg::engine::{Artifact, BuildCx};
use rimg::error::Kind;

use crate::support::library::{Library, has, skip, tool};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Text, noise and zeroes, larger than several blocks of any compressor.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 7u64;
    (0..len)
        .map(|n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (n >> 18) % 3 {
                0 => (state >> 56) as u8,
                1 => b"all work and no play "[n % 21],
                _ => 0,
            }
        })
        .collect()
}

async fn of(cx: &BuildCx, paths: &[&Path]) -> Artifact {
    let paths = paths.iter().map(|path| path.display().to_string()).collect();
    files(FilesOptions { files: paths, ..FilesOptions::default() }, cx).await.expect("an artifact")
}

async fn compressed(library: &Library, artifact: &Artifact, output: &str) -> PathBuf {
    let options = CompressOptions { output: some(output), ..CompressOptions::default() };
    let result = compress(artifact, options, &library.cx).await.expect(output);
    let file = &result.files[0];
    assert_eq!(file.size, std::fs::metadata(&file.path).unwrap().len());
    let sum = tool(library.dir.path(), "sha256sum", &[&file.path.display().to_string()]);
    assert_eq!(file.digests[0].hex.as_bytes(), &sum[..64], "the digest on the way out");
    assert_eq!(library.cx.resources.list(), []);
    file.path.clone()
}

#[tokio::test]
async fn every_format_gives_back_what_went_in() {
    let library = Library::new();
    let (one, two) = (library.write("in/one.bin", sample(5_000_001)), library.write("in/sub/zwei ä.txt", "two\n"));
    let single = of(&library.cx, &[&one]).await;
    let both = of(&library.cx, &[&one, &two]).await;
    let same = |unpacked: Vec<u8>| assert!(unpacked == sample(5_000_001));
    let dir = library.dir.path();

    compressed(&library, &single, "x.gz").await;
    tool(dir, "gzip", &["-t", "x.gz"]);
    same(tool(dir, "gzip", &["-dc", "x.gz"]));
    if has("zstd") {
        compressed(&library, &single, "x.zst").await;
        same(tool(dir, "zstd", &["-dc", "x.zst"]));
        compressed(&library, &both, "x.tar.zst").await;
        std::fs::create_dir(library.join("zst")).unwrap();
        tool(dir, "tar", &["-C", "zst", "--zstd", "-xf", "x.tar.zst"]);
        same(std::fs::read(library.join("zst/one.bin")).unwrap());
    }
    for (program, format) in [("xz", "xz"), ("bzip2", "bz2"), ("lz4", "lz4")] {
        if !has(program) {
            continue;
        }
        let name = format!("x.{format}");
        compressed(&library, &single, &name).await;
        tool(dir, program, &["-t", &name]);
        same(tool(dir, program, &["-dc", &name]));
        let name = format!("x.tar.{format}");
        compressed(&library, &both, &name).await;
        std::fs::create_dir(library.join(format)).unwrap();
        tool(dir, "tar", &["-C", format, "-I", program, "-xf", &name]);
        same(std::fs::read(library.join(format!("{format}/one.bin"))).unwrap());
    }
    let packed = std::fs::read(compressed(&library, &single, "x.bgz").await).unwrap();
    tool(dir, "gzip", &["-t", "-S", ".bgz", "x.bgz"]);
    same(tool(dir, "gzip", &["-dc", "-S", ".bgz", "x.bgz"]));
    bgzf_is_well_formed(&packed, 5_000_001);
    for name in ["x.tar", "x.tar.gz", "y.tgz"] {
        compressed(&library, &both, name).await;
        let out = library.join(format!("out-{name}"));
        std::fs::create_dir(&out).unwrap();
        tool(dir, "tar", &["-C", &out.display().to_string(), "-xf", name]);
        same(std::fs::read(out.join("one.bin")).unwrap());
        assert_eq!(std::fs::read_to_string(out.join("sub/zwei ä.txt")).unwrap(), "two\n");
    }
    if has("unzip") {
        compressed(&library, &both, "x.zip").await;
        tool(dir, "unzip", &["-tq", "x.zip"]);
        tool(dir, "unzip", &["-q", "x.zip", "-d", "unzipped"]);
        same(std::fs::read(library.join("unzipped/one.bin")).unwrap());
        assert_eq!(std::fs::read_to_string(library.join("unzipped/sub/zwei ä.txt")).unwrap(), "two\n");
    }
    let names = library.names("");
    assert!(names.iter().all(|name| !name.contains(".rimg-")), "{names:?}");
}

/// Follows the members of a BGZF file by the sizes they tell (SAM specification, section 4.1).
fn bgzf_is_well_formed(mut rest: &[u8], expected: usize) {
    let (mut total, mut last) = (0, usize::MAX);
    while !rest.is_empty() {
        assert_eq!(rest[..4], [0x1f, 0x8b, 8, 4]);
        assert_eq!(rest[10..16], [6, 0, b'B', b'C', 2, 0]);
        let (member, behind) = rest.split_at(usize::from(u16::from_le_bytes([rest[16], rest[17]])) + 1);
        last = u32::from_le_bytes(member[member.len() - 4..].try_into().unwrap()) as usize;
        assert!(last <= 1 << 16);
        total += last;
        rest = behind;
    }
    assert_eq!((total, last), (expected, 0), "the length of all, and of the member at the end");
}

#[tokio::test]
async fn a_zip_file_may_hold_more_than_four_gibibytes() {
    if !has("unzip") {
        return;
    }
    let library = Library::new();
    let big = library.write("big.bin", "begin");
    std::fs::File::options().write(true).open(&big).unwrap().set_len((4 << 30) + 10).unwrap();
    let small = library.write("small.txt", "end");
    let artifact = of(&library.cx, &[&big, &small]).await;
    let options = CompressOptions { output: some("x.zip"), compression_level: Some(1), ..Default::default() };
    compress(&artifact, options, &library.cx).await.unwrap();
    // What lies behind the large file is found by 64-bit offsets, its size in 64-bit fields.
    assert_eq!(tool(library.dir.path(), "unzip", &["-p", "x.zip", "small.txt"]), b"end");
    let listed = tool(library.dir.path(), "unzip", &["-l", "x.zip"]);
    assert!(String::from_utf8_lossy(&listed).contains("4294967306  "), "{}", String::from_utf8_lossy(&listed));
}

#[tokio::test]
async fn an_existing_output_stays_unless_forced() {
    let library = Library::new();
    let source = library.write("a.bin", sample(3_000_000));
    let artifact = of(&library.cx, &[&source]).await;
    let options = || CompressOptions { output: some("a.tar.gz"), ..Default::default() };
    let target = library.write("a.tar.gz", "precious");
    let error = compress(&artifact, options(), &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    let forced = library.again(|settings| settings.force = true);
    let made = compress(&artifact, options(), &forced).await.unwrap();
    // What this run would write is there already.
    let before = std::fs::metadata(&target).unwrap().modified().unwrap();
    assert_eq!(compress(&artifact, options(), &library.cx).await.unwrap(), made);
    assert_eq!(std::fs::metadata(&target).unwrap().modified().unwrap(), before);
    // One byte less is not the same.
    std::fs::File::options().write(true).open(&target).unwrap().set_len(made.files[0].size - 1).unwrap();
    assert_eq!(compress(&artifact, options(), &library.cx).await.unwrap_err().kind(), Kind::Exists);
}

#[tokio::test]
async fn wrong_options_are_told_before_anything_is_done() {
    let library = Library::new();
    let (a, b) = (library.write("a", "a"), library.write("b", "b"));
    let artifact = of(&library.cx, &[&a, &b]).await;
    let refused = async |options: CompressOptions| compress(&artifact, options, &library.cx).await.unwrap_err();
    let wrong = |output: &str| CompressOptions { output: some(output), ..Default::default() };
    assert!(refused(wrong("x.rar")).await.message().contains("x.rar"));
    assert!(refused(wrong("x.gz")).await.hints().concat().contains("tar.gz"));
    let level = CompressOptions { compression_level: Some(10), ..wrong("x.tar.gz") };
    assert!(refused(level).await.message().contains("found 10"));
    let wrong_level = |output: &str, level| CompressOptions { compression_level: Some(level), ..wrong(output) };
    assert!(refused(wrong_level("x.tbz2", 0)).await.message().contains("levels 1 to 9, found 0"));
    assert!(refused(wrong_level("x.txz", 10)).await.message().contains("levels 0 to 9, found 10"));
    assert!(refused(wrong_level("x.tar.lz4", 9)).await.message().contains("only level 1, found 9"));
    assert!(refused(wrong("x.bgzf")).await.hints().concat().contains("tar.gz"));
    assert_eq!(library.names(""), ["a", "b"]);
    let missing = FilesOptions { files: vec!["none.img".into()], ..Default::default() };
    let error = files(missing, &library.cx).await.unwrap_err();
    assert!(error.message().contains(&library.join("none.img").display().to_string()), "{error}");
    let empty = FilesOptions { files: vec!["*.img".into()], ..Default::default() };
    assert!(files(empty, &library.cx).await.is_err());
    let globbed = files(FilesOptions { files: vec!["?".into()], ..Default::default() }, &library.cx).await.unwrap();
    assert_eq!(globbed.files, artifact.files);
}

#[tokio::test]
async fn a_cancelled_compression_leaves_nothing() {
    let library = Library::new();
    let source = library.write("a.raw", "");
    // Zeroes for a minute, and no disk space.
    std::fs::File::options().write(true).open(&source).unwrap().set_len(200 << 30).unwrap();
    let artifact = of(&library.cx, &[&source]).await;
    for output in ["x.tar.gz", "x.zst", "x.zip", "x.xz", "x.bz2", "x.lz4", "x.bgz"] {
        let options = CompressOptions { output: some(output), ..Default::default() };
        let work = compress(&artifact, options, &library.cx);
        assert!(tokio::time::timeout(Duration::from_millis(300), work).await.is_err());
        let mut tries = 0;
        while library.names("") != ["a.raw"] || !library.cx.resources.list().is_empty() {
            tries += 1;
            assert!(tries < 200, "left after {output}: {:?}", library.names(""));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let library = Library::new();
    let small = library.join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        skip("no small file system can be mounted");
        return;
    }
    let source = library.write("a.bin", sample(20_000_000));
    let artifact = of(&library.cx, &[&source]).await;
    let mut errors = Vec::new();
    for name in ["x.tar.gz", "x.zst", "x.zip", "x.xz", "x.bz2", "x.lz4", "x.bgz"] {
        let output = &format!("small/{name}");
        let options = CompressOptions { output: some(output), ..Default::default() };
        errors.push(compress(&artifact, options, &library.cx).await.map(|_| ()));
    }
    let left = library.names("small");
    tool(library.dir.path(), "umount", &["small"]);
    for error in errors {
        let error = error.unwrap_err();
        assert!(error.hints().concat().contains("disk is full"), "{error} {:?}", error.hints());
    }
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn checksum_files_satisfy_the_tools() {
    let library = Library::new();
    let one = library.write("out/one image.qcow2", sample(9_000_000));
    let two = library.write("out/sub/back\\slash\nline", "two");
    let artifact = of(&library.cx, &[&one]).await;
    let types = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let all = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];
    let options = ChecksumOptions { types: types(&all), output: None };
    let summed = checksum(&artifact, options.clone(), &library.cx).await.unwrap();
    assert_eq!(summed.files[0].digests.len(), 6);
    assert_eq!(summed.files.len(), 7);
    for name in all {
        let file = format!("one image.qcow2.{name}");
        tool(&library.join("out"), &format!("{name}sum"), &["--strict", "-c", &file]);
    }
    // Done already: not an error.
    checksum(&artifact, options, &library.cx).await.unwrap();
    // Several algorithms in one file, odd names, from a folder above.
    let both = of(&library.cx, &[&one, &two]).await;
    let output = some("{{.BuildName}}_{{.BuilderType}}.sums");
    checksum(&both, ChecksumOptions { types: types(&["sha512", "sha1"]), output }, &library.cx).await.unwrap();
    for program in ["sha512sum", "sha1sum"] {
        tool(library.dir.path(), program, &["-c", "web_file.sums"]);
    }
    let output = some("packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum");
    checksum(&both, ChecksumOptions { types: types(&["sha256"]), output }, &library.cx).await.unwrap();
    tool(library.dir.path(), "sha256sum", &["--strict", "-c", "packer_web_file_sha256.checksum"]);
    // The file says something else now.
    std::fs::write(&one, "changed").unwrap();
    let again = ChecksumOptions { types: types(&["sha256"]), output: None };
    let error = checksum(&of(&library.cx, &[&one]).await, again, &library.cx).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
}

#[tokio::test]
async fn an_image_is_converted_to_every_format() {
    if !has("qemu-img") {
        return;
    }
    let library = Library::new();
    let raw = library.write("disk.raw", sample(3 << 20));
    let artifact = of(&library.cx, &[&raw]).await;
    for format in ["qcow2", "vmdk", "vdi", "vhdx"] {
        let options = ConvertOptions { format: some(format), ..Default::default() };
        let made = convert(&artifact, options, &library.cx).await.unwrap();
        assert_eq!(made.files[0].path, library.join(format!("disk.{format}")));
        // And back, by its own say.
        let back = ConvertOptions { output: Some(format!("{format}.raw")), ..Default::default() };
        let back = convert(&made, back, &library.cx).await.unwrap();
        assert!(std::fs::read(&back.files[0].path).unwrap()[..3 << 20] == sample(3 << 20), "{format}");
        let twice = ConvertOptions { format: some(format), ..Default::default() };
        assert_eq!(convert(&artifact, twice, &library.cx).await.unwrap_err().kind(), Kind::Exists);
    }
    let small = ConvertOptions { output: some("small.qcow2"), compress: Some(true), ..Default::default() };
    let small = convert(&artifact, small, &library.cx).await.unwrap();
    assert!(small.files[0].size < std::fs::metadata(library.join("disk.qcow2")).unwrap().len());
    let not = ConvertOptions { format: some("vdi"), compress: Some(true), ..Default::default() };
    assert_eq!(convert(&artifact, not, &library.cx).await.unwrap_err().kind(), Kind::Option);
    destroy(&small, &library.cx).await.unwrap();
    let names = library.names("");
    assert!(!names.iter().any(|name| name.contains(".rimg-") || name == "small.qcow2"), "{names:?}");
}

#[tokio::test]
async fn vagrant_takes_the_box() {
    if !has("qemu-img") || !has("vagrant") {
        return;
    }
    let library = Library::new();
    let raw = library.write("disk.raw", sample(3 << 20));
    std::fs::File::options().write(true).open(&raw).unwrap().set_len((2 << 30) + 512).unwrap();
    library.write("info.json", r#"{"author":"me"}"#);
    library.write("Vagrantfile.in", "Vagrant.configure(\"2\") { |config| config.ssh.insert_key = false }\n");
    let artifact = of(&library.cx, &[&raw]).await;
    let options = VagrantOptions {
        output: some("out/{{.BuildName}}_{{.Provider}}.box"),
        include: vec!["info.json".into()],
        vagrantfile_template: some("Vagrantfile.in"),
        compression_level: Some(1),
        ..Default::default()
    };
    let made = vagrant(&artifact, options, &library.cx).await.unwrap();
    assert_eq!(made.files[0].path, library.join("out/web_libvirt.box"));
    assert_eq!(library.names("out"), ["web_libvirt.box"]);
    let home = library.join("vagrant-home");
    let run = |args: &[&str]| {
        let mut command = Command::new("vagrant");
        command.args(args).env("VAGRANT_HOME", &home).env("VAGRANT_CHECKPOINT_DISABLE", "1");
        let output = command.current_dir(library.dir.path()).output().expect("vagrant starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(&["box", "add", "--name", "test/web", "out/web_libvirt.box"]);
    assert!(run(&["box", "list"]).contains("(libvirt, 0"));
    let mut boxes = Vec::new();
    let mut folders = vec![home.join("boxes")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            match entry.file_name().to_str() {
                Some("libvirt") => boxes.push(entry.path()),
                _ if entry.path().is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    let inside = boxes.first().expect("the unpacked box");
    let metadata: serde_json::Value =
        serde_json::from_slice(&std::fs::read(inside.join("metadata.json")).unwrap()).unwrap();
    assert_eq!((&metadata["virtual_size"], &metadata["format"]), (&3.into(), &"qcow2".into()));
    assert!(inside.join("info.json").exists());
    assert!(std::fs::read_to_string(inside.join("Vagrantfile")).unwrap().contains("insert_key"));
    let disk = inside.join("box.img").display().to_string();
    let compare = ["compare", "-f", "qcow2", "-F", "raw", &disk, "disk.raw"];
    tool(library.dir.path(), "qemu-img", &compare);
}

/// Puts what differs from run to run out of the way.
fn plain(text: &str) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let uuid = value["last_run_uuid"].take();
    for build in value["builds"].as_array_mut().expect("builds") {
        assert_eq!(build["packer_run_uuid"].take(), uuid);
        assert_eq!(uuid.as_str().expect("text").len(), 36);
        if let Some(time) = build.get_mut("build_time") {
            assert!(time.take().as_i64().expect("a number") > 1_700_000_000);
        }
    }
    value
}

/// Returns the names of fields in their order, at every depth.
fn shape(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.split_once("\": ")?.0.to_owned())).collect()
}

#[tokio::test]
async fn the_manifest_is_packers() {
    if !has("packer") {
        return;
    }
    let library = Library::new();
    let template = serde_json::json!({
        "builders": [{ "type": "file", "name": "web", "target": "out/web.txt", "content": "hello" }],
        "post-processors": [
            { "type": "manifest", "output": "theirs.json", "custom_data": { "b": "<2>", "a": "1" } },
            { "type": "manifest", "output": "theirs.json", "strip_path": true, "strip_time": true },
        ],
    });
    library.write("t.json", template.to_string());
    std::fs::create_dir(library.join("out")).unwrap();
    let status = Command::new("packer")
        .args(["build", "-color=false", "t.json"])
        .current_dir(library.dir.path())
        .env("CHECKPOINT_DISABLE", "1")
        .env("PACKER_CACHE_DIR", library.join("packer-cache"))
        .output()
        .expect("packer starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    let mut artifact = of(&library.cx, &[&library.join("out/web.txt")]).await;
    artifact.id = "File".into();
    let custom = [("a".to_owned(), 1.into()), ("b".to_owned(), "<2>".into())].into();
    let first = ManifestOptions { output: some("ours.json"), custom_data: custom, ..Default::default() };
    let second = ManifestOptions {
        output: some("ours.json"),
        strip_path: Some(true),
        strip_time: Some(true),
        ..Default::default()
    };
    let back = manifest(&artifact, first.clone(), &library.cx).await.unwrap();
    assert_eq!(back, artifact);
    manifest(&artifact, second, &library.cx).await.unwrap();
    let read = |name: &str| std::fs::read_to_string(library.join(name)).unwrap();
    let (mut theirs, ours) = (read("theirs.json"), read("ours.json"));
    assert_eq!(shape(&ours), shape(&theirs));
    // Packer runs its two post-processors side by side.
    let mut sorted = plain(&theirs);
    sorted["builds"].as_array_mut().unwrap().sort_by_key(|build| build["custom_data"].is_null());
    assert_eq!(plain(&ours), sorted);
    // Ours goes on in a file of Packer's; forced, it begins a new one.
    let on_theirs = ManifestOptions { output: some("theirs.json"), ..first };
    manifest(&artifact, on_theirs.clone(), &library.cx).await.unwrap();
    theirs = read("theirs.json");
    let count =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["builds"].as_array().unwrap().len();
    assert_eq!(count(&theirs), 3);
    let forced = library.again(|settings| settings.force = true);
    std::fs::write(library.join("theirs.json"), theirs.replace(rimg::artifact::manifest::run_uuid(), "other")).unwrap();
    manifest(&artifact, on_theirs.clone(), &forced).await.unwrap();
    manifest(&artifact, on_theirs, &forced).await.unwrap();
    assert_eq!(count(&read("theirs.json")), 2);
    library.write("theirs.json", "not a manifest");
    let wrong = ManifestOptions { output: some("theirs.json"), ..Default::default() };
    assert_eq!(manifest(&artifact, wrong, &library.cx).await.unwrap_err().kind(), Kind::Exists);
    assert_eq!(read("theirs.json"), "not a manifest");
}

#[tokio::test]
async fn builds_that_finish_together_are_all_in_the_manifest() {
    let library = Library::new();
    let artifact = of(&library.cx, &[&library.write("a", "a")]).await;
    let all = (0..20).map(|_| manifest(&artifact, ManifestOptions::default(), &library.cx));
    for result in futures_util::future::join_all(all).await {
        result.unwrap();
    }
    let text = std::fs::read_to_string(library.join("packer-manifest.json")).unwrap();
    assert_eq!(plain(&text)["builds"].as_array().unwrap().len(), 20);
}
