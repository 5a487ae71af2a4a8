//! Files by every way that servers have, and servers, networks and disks that fail in the middle.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rimg::communicator::ssh::{self, FileTransferMethod, SshOptions, Target};
use rimg::engine::{Communicator, FileMeta, Sink, Source};
use rimg::error::Kind;
use rimg::ui::event::Counter;

use crate::communicator::{connect, noise, options, run};
use crate::support::library::{Library, has, skip, tool};
use crate::support::proxy::Proxy;
use crate::support::rimg::Sandbox;
use crate::support::sshd::Sshd;

/// An account that may do nothing but SFTP.
const ONLY_SFTP: &str = "ForceCommand internal-sftp";
/// A server without SFTP.
const NO_SFTP: &str = "Subsystem none /bin/false";

/// A server without SFTP whose account may do nothing but scp.
fn only_scp(lib: &Library) -> String {
    let guard = lib.write(
        "only-scp",
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in\n'scp '*) exec /bin/sh -c \"$SSH_ORIGINAL_COMMAND\";;\nesac\n\
         echo 'only scp is allowed' >&2\nexit 1\n",
    );
    std::fs::set_permissions(&guard, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{NO_SFTP}\nForceCommand {}", guard.display())
}

async fn connect_by(
    sshd: &Sshd,
    port: u16,
    lib: &Library,
    method: Option<FileTransferMethod>,
) -> Arc<dyn Communicator> {
    let options =
        SshOptions { ssh_private_key_file: Some(sshd.user_key()), ssh_file_transfer_method: method, ..options() };
    let target = Target::new(&options, "127.0.0.1", port, &lib.cx).await.unwrap();
    ssh::wait(&target, Duration::from_secs(20), &lib.cx).await.unwrap()
}

/// What is in a tree, but for what only tar can send.
fn plain_tree(lib: &Library) -> PathBuf {
    for (name, mode) in [("tree/plain", 0o640), ("tree/sub/sp ace", 0o600), ("tree/-dash", 0o644), ("tree/exec", 0o751)]
    {
        let path = lib.write(name, name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    lib.write("tree/big", noise(300_000));
    lib.write("tree/no bytes", "");
    std::fs::create_dir_all(lib.join("tree/empty/folder")).unwrap();
    std::fs::set_permissions(lib.join("tree/sub"), std::fs::Permissions::from_mode(0o750)).unwrap();
    let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    std::fs::File::open(lib.join("tree/plain")).unwrap().set_modified(old).unwrap();
    std::fs::File::open(lib.join("tree/sub")).unwrap().set_modified(old).unwrap();
    lib.join("tree")
}

/// Fails unless two trees are the same in names, kinds, content, modes and times.
#[track_caller]
fn expect_same(one: &Path, other: &Path) {
    let list = |root: &Path| {
        let format = r"%P\t%y\t%m\t%T@\t%l\t%n\0";
        let mut lines: Vec<_> = tool(root, "find", &[".", "-mindepth", "1", "-printf", format])
            .split(|b| *b == 0)
            .map(|line| {
                // A link has no mode, and its time is not kept by all; folders' times change with what is put in them.
                let line = String::from_utf8_lossy(line).into_owned();
                let fields: Vec<_> = line.split('\t').collect();
                let time = fields.get(3).and_then(|t| t.split('.').next()).unwrap_or_default();
                match fields.get(1) {
                    Some(&"l") => format!("{} -> {}", fields[0], fields[4]),
                    Some(&"d") => format!("{}/ {}", fields[0], fields[2]),
                    _ => format!(
                        "{} {} {time} {}",
                        fields[0],
                        fields.get(2).unwrap_or(&""),
                        fields.get(5).unwrap_or(&"")
                    ),
                }
            })
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(list(one), list(other));
    let names = [one.to_str().unwrap(), other.to_str().unwrap()];
    tool(one, "diff", &["-r", "--no-dereference", names[0], names[1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_carries_files_and_folders_whole() {
    use FileTransferMethod::{Scp, Sftp};
    let guarded = Library::new();
    let only_scp = only_scp(&guarded);
    for (config, method) in [("", Some(Sftp)), ("", Some(Scp)), (ONLY_SFTP, None), (NO_SFTP, None), (&only_scp, None)] {
        let lib = Library::new();
        let Some(sshd) = Sshd::start(config) else { return };
        let ssh = connect_by(&sshd, sshd.port, &lib, method).await;
        let counter = Counter::default();
        std::fs::create_dir(lib.join("remote")).unwrap();
        for (name, length) in [("empty", 0), ("odd 'x' $y", 100_000), ("-big", 34 << 20)] {
            let content = noise(length);
            let local = lib.write(format!("local/{name}"), &content);
            std::fs::set_permissions(&local, std::fs::Permissions::from_mode(0o640)).unwrap();
            let remote = lib.join(format!("remote/{name}"));
            counter.set(0);
            let sent = ssh.upload(Source::File(&local), remote.to_str().unwrap(), FileMeta::default(), &counter).await;
            assert_eq!((sent.unwrap(), counter.get()), (length as u64, length as u64), "{config} {method:?} {name}");
            assert!(std::fs::read(&remote).unwrap() == content, "{config} {method:?} {name}");
            assert_eq!(std::fs::metadata(&remote).unwrap().permissions().mode() & 0o7777, 0o640);
            let back = lib.join(format!("back/{name}"));
            counter.set(0);
            let got = ssh.download(remote.to_str().unwrap(), Sink::File(&back), &counter).await;
            assert_eq!((got.unwrap(), counter.get()), (length as u64, length as u64), "{config} {method:?} {name}");
            assert!(std::fs::read(&back).unwrap() == content, "{config} {method:?} {name}");
        }
        // A shorter file over a longer one; what is read into memory.
        let remote = lib.join("remote/-big").display().to_string();
        let meta = FileMeta { mode: Some(0o600), ..FileMeta::default() };
        ssh.upload(Source::Bytes(b"short"), &remote, meta, &counter).await.unwrap();
        let mut bytes = Vec::new();
        ssh.download(&remote, Sink::Bytes(&mut bytes), &counter).await.unwrap();
        assert_eq!((bytes.as_slice(), std::fs::metadata(&remote).unwrap().mode() & 0o7777), (&b"short"[..], 0o600));
        // An scp that nothing is with puts a file into a folder that is in its way.
        if config == only_scp {
            continue;
        }
        // What cannot be done is named, and nothing is left.
        let folder = lib.join("remote").display().to_string();
        for (to, why) in [(folder.as_str(), "folder"), ("/no/such/folder/file", "/no/such/folder/file")] {
            let error = ssh.upload(Source::Bytes(b"x"), to, FileMeta::default(), &counter).await.unwrap_err();
            assert!(error.message().contains(&format!("cannot write {to}")), "{config} {method:?}: {error}");
            assert!(error.to_string().contains(why), "{config} {method:?}: {error}");
        }
        let missing = lib.join("back/missing");
        for from in ["/no/such/file", folder.as_str()] {
            let error = ssh.download(from, Sink::File(&missing), &counter).await.unwrap_err();
            assert!(error.message().contains(&format!("cannot read {from}")), "{config} {method:?}: {error}");
        }
        assert_eq!(lib.names("remote"), ["-big", "empty", "odd 'x' $y"], "{config} {method:?}");
        assert_eq!(lib.names("back"), ["-big", "empty", "odd 'x' $y"], "{config} {method:?}");

        let tree = plain_tree(&lib);
        std::os::unix::fs::symlink("plain", tree.join("link")).unwrap();
        std::os::unix::fs::symlink("/no/where", tree.join("dangling")).unwrap();
        // Where nothing is, and again where it is.
        for _ in 0..2 {
            let to = lib.join("remote/new/copy").display().to_string();
            counter.set(0);
            let sent = ssh.upload(Source::Tree(&tree), &to, FileMeta::default(), &counter).await.unwrap();
            assert_eq!(sent, counter.get());
            expect_same(&tree, &lib.join("remote/new/copy"));
            let got = ssh.download(&to, Sink::Tree(&lib.join("tree-back")), &counter).await.unwrap();
            assert_eq!(got, sent);
            expect_same(&tree, &lib.join("tree-back"));
        }
        let error = ssh.download("/no/such/tree", Sink::Tree(&lib.join("none")), &counter).await.unwrap_err();
        assert!(error.message().contains("/no/such/tree"), "{config} {method:?}: {error}");
        assert!(!lib.join("none").exists());
        ssh.close().await;
    }
    // What was asked for is not there.
    let lib = Library::new();
    let Some(sshd) = Sshd::start(NO_SFTP) else { return };
    let ssh = connect_by(&sshd, sshd.port, &lib, Some(Sftp)).await;
    let sent = ssh.upload(Source::Bytes(b"x"), "/tmp/rimg-never", FileMeta::default(), &Counter::default()).await;
    assert_eq!(sent.unwrap_err().kind(), Kind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_at_the_target_keeps_its_owner_and_its_links() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("files are given away as root");
    }
    let counter = Counter::default();
    for (length, method) in [(10, None), (33 << 20, None), (10, Some(FileTransferMethod::Scp))] {
        let ssh = connect_by(&sshd, sshd.port, &lib, method).await;
        let target = lib.write("real/target", "before");
        std::os::unix::fs::chown(&target, Some(3), Some(4)).unwrap();
        let link = lib.join("link");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("real/target", &link).unwrap();
        let content = noise(length);
        let meta = FileMeta { mode: Some(0o4755), ..FileMeta::default() };
        let local = lib.write("local", &content);
        ssh.upload(Source::File(&local), link.to_str().unwrap(), meta, &counter).await.unwrap();
        assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("real/target"));
        assert!(std::fs::read(&target).unwrap() == content);
        let found = std::fs::metadata(&target).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (3, 4, 0o4755), "{length} {method:?}");
        assert_eq!(lib.names("real"), ["target"]);
    }
    // A link to a folder among the folders of a target stays one; what is beside stays.
    let ssh = connect(&sshd, &lib.cx).await;
    lib.write("root/usr/lib/kept", "kept");
    std::fs::set_permissions(lib.join("root/usr"), std::fs::Permissions::from_mode(0o711)).unwrap();
    std::os::unix::fs::symlink("usr/lib", lib.join("root/lib")).unwrap();
    lib.write("tree/lib/new", "new");
    lib.write("tree/usr/bin", "bin");
    let root = lib.join("root").display().to_string();
    ssh.upload(Source::Tree(&lib.join("tree")), &root, FileMeta::default(), &counter).await.unwrap();
    assert_eq!(std::fs::read_link(lib.join("root/lib")).unwrap(), Path::new("usr/lib"));
    assert_eq!(lib.names("root/usr/lib"), ["kept", "new"]);
    assert_eq!(std::fs::metadata(lib.join("root/usr")).unwrap().mode() & 0o777, 0o711);
    assert_eq!(lib.names("root"), ["lib", "usr"]);
}

/// Two gibibytes with two stretches of two mebibytes.
fn sparse_file(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    file.set_len(2 << 30).unwrap();
    for offset in [1 << 20, (2 << 30) - (2 << 20)] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&noise(2 << 20)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_stay_holes_and_are_not_sent() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    sparse_file(&lib.join("tree/disk"));
    std::fs::hard_link(lib.join("tree/disk"), lib.join("tree/same")).unwrap();
    let disk = lib.join("tree/disk");
    let counter = Counter::default();
    #[track_caller]
    fn expect_sparse(path: &Path, original: &Path) {
        let found = std::fs::metadata(path).unwrap();
        assert_eq!(found.len(), 2 << 30);
        assert!(found.blocks() * 512 < 16 << 20, "{} blocks", found.blocks());
        let names = [path.to_str().unwrap(), original.to_str().unwrap()];
        let same = std::process::Command::new("cmp").args(names).status().unwrap();
        assert!(same.success());
    }
    let proxy = Proxy::start(sshd.port, 0, 0).await;
    let ssh = connect_by(&sshd, proxy.port, &lib, None).await;
    let remote = lib.join("remote").display().to_string();
    let sent = ssh.upload(Source::File(&disk), &remote, FileMeta::default(), &counter).await.unwrap();
    assert_eq!((sent, counter.get()), (2 << 30, 2 << 30));
    expect_sparse(Path::new(&remote), &disk);
    let got = ssh.download(&remote, Sink::File(&lib.join("back")), &counter).await.unwrap();
    assert_eq!(got, 2 << 30);
    expect_sparse(&lib.join("back"), &disk);
    let copy = lib.join("copy").display().to_string();
    ssh.upload(Source::Tree(&lib.join("tree")), &copy, FileMeta::default(), &counter).await.unwrap();
    expect_sparse(&lib.join("copy/disk"), &disk);
    ssh.download(&copy, Sink::Tree(&lib.join("tree-back")), &counter).await.unwrap();
    expect_sparse(&lib.join("tree-back/disk"), &disk);
    for tree in ["copy", "tree-back"] {
        let inode = |name: &str| std::fs::metadata(lib.join(tree).join(name)).unwrap().ino();
        assert_eq!(inode("disk"), inode("same"), "{tree}");
    }
    assert!(proxy.passed() < 40 << 20, "{} bytes passed", proxy.passed());
}

/// The beginning of a script whose `vm` is this host behind a proxy.
fn head(sshd: &Sshd, port: u16) -> String {
    format!(
        "local rimg = require 'rimg'\nlocal vm = rimg.host {{ name = 'web', ssh_host = '127.0.0.1', ssh_port = {port}, \
         ssh_username = 'root', ssh_private_key_file = '{}', ssh_timeout = '20s' }}\n",
        sshd.user_key().display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_cut_off_starts_over_and_a_command_does_not() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    sandbox.write("small", noise(8 << 20));
    sandbox.write("big", noise(40 << 20));
    for n in 0..40 {
        sandbox.write(format!("tree/{n}"), noise(200 << 10));
    }
    let at = |name: &str| sandbox.join(name).display().to_string();
    std::fs::create_dir(sandbox.join("to")).unwrap();
    for (line, from, to) in [
        (format!("vm:upload('small', '{}')", at("to/small")), "small", "to/small"),
        (format!("vm:upload('big', '{}', {{ owner = '3', mode = '600' }})", at("to/big")), "big", "to/big"),
        (format!("vm:upload('tree', '{}')", at("to")), "tree", "to/tree"),
        (format!("vm:download('{}', 'to/back')", at("small")), "small", "to/back"),
        (format!("vm:download('{}', 'to/big-back', {{ sudo = true }})", at("big")), "big", "to/big-back"),
        (format!("vm:write('{}', rimg.fs.read('small'))", at("to/written")), "small", "to/written"),
        (format!("rimg.fs.write('to/read', vm:read('{}'))", at("small")), "small", "to/read"),
    ] {
        let proxy = Proxy::start(sshd.port, 2, 5 << 20).await;
        let script = format!("{}{line}\n", head(&sshd, proxy.port));
        let run = tokio::task::block_in_place(|| sandbox.run(&script, &[]).expect_code(0));
        assert_eq!(proxy.connections(), 3, "{line}\n{}", run.stdout);
        assert!(
            format!("{}{}", run.stdout, run.stderr).contains("starting over on a new connection"),
            "{}",
            run.stdout
        );
        tool(&sandbox.join(""), "diff", &["-r", from, to]);
    }
    let left: Vec<_> = std::fs::read_dir(sandbox.join("to")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".rimg-")), "{left:?}");
    assert_eq!(std::fs::metadata(sandbox.join("to/big")).unwrap().uid(), 3);

    // A line that never holds: what was there is still there.
    std::fs::write(sandbox.join("to/big"), "before").unwrap();
    let proxy = Proxy::start(sshd.port, i64::MAX, 5 << 20).await;
    let script = format!("{}vm:upload('big', '{}')\n", head(&sshd, proxy.port), at("to/big"));
    let run = tokio::task::block_in_place(|| sandbox.run(&script, &[]).expect_code(1));
    assert_eq!(proxy.connections(), 4, "{}", run.stdout);
    assert_eq!(std::fs::read(sandbox.join("to/big")).unwrap(), b"before");

    // A command is not run twice by itself.
    let proxy = Proxy::start(sshd.port, 1, 5 << 20).await;
    let script = format!("{}vm:run('echo once >>{}; head -c 20M /dev/zero')\n", head(&sshd, proxy.port), at("count"));
    tokio::task::block_in_place(|| sandbox.run(&script, &[]).expect_code(1));
    assert_eq!(std::fs::read(sandbox.join("count")).unwrap(), b"once\n");
}

/// A small file system, unmounted when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir_all(&at).unwrap();
        let mut mount = std::process::Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(&at).status().is_ok_and(|s| s.success());
        if !mounted {
            skip("no file system can be mounted here");
        }
        mounted.then_some(SmallDisk(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_leaves_what_was_there() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("") else { return };
    let Some(disk) = SmallDisk::mount(lib.join("disk")) else { return };
    let counter = Counter::default();
    lib.write("tree/one", noise(5 << 20));
    lib.write("tree/two", noise(5 << 20));
    std::fs::write(disk.0.join("there"), "before").unwrap();
    let there = disk.0.join("there").display().to_string();
    let methods = [None, Some(FileTransferMethod::Sftp), Some(FileTransferMethod::Scp)];
    for (length, method) in [10 << 20, 40 << 20].into_iter().flat_map(|l| methods.map(|m| (l, m))) {
        let ssh = connect_by(&sshd, sshd.port, &lib, method).await;
        let local = lib.write("local", noise(length));
        let error = ssh.upload(Source::File(&local), &there, FileMeta::default(), &counter).await.unwrap_err();
        assert!(error.message().contains(&format!("cannot write {there}")), "{error}");
        assert!(error.hints().iter().any(|h| h.contains("disk")), "{method:?}: {error} {:?}", error.hints());
        assert_eq!(std::fs::read(&there).unwrap(), b"before");
        assert_eq!(lib.names("disk"), ["there"], "{method:?} {length}");
        let error = ssh.download(local.to_str().unwrap(), Sink::File(Path::new(&there)), &counter).await.unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(lib.names("disk"), ["there"], "{method:?} {length}");
    }
    let ssh = connect(&sshd, &lib.cx).await;
    for to in ["disk", "disk/new"] {
        let to = lib.join(to).display().to_string();
        let error = ssh.upload(Source::Tree(&lib.join("tree")), &to, FileMeta::default(), &counter).await.unwrap_err();
        assert!(error.hints().iter().any(|h| h.contains("disk")), "{error} {:?}", error.hints());
        assert_eq!(lib.names("disk"), ["there"]);
    }
    assert_eq!(run(&*ssh, "echo on").await.1, "on\n");
}

/// A source that says what it likes.
fn lying_scp(lib: &Library, says: &str) -> String {
    let source = lib
        .write("lying-scp", format!("#!/bin/sh\nprintf '{says}'\n[ -n \"$HOLD\" ] && exec cat >/dev/null\nexit 0\n"));
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("ForceCommand {}", source.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_lies_gets_nothing_onto_this_host() {
    for (says, tree) in [
        (r"C0644 4 ../evil\nevil\0", true),
        (r"D0755 0 x\nC0644 4 ../evil\nevil\0E\n", true),
        (r"D0755 0 x\nD0755 0 ..\nC0644 4 evil\nevil\0E\nE\n", true),
        (r"D0755 0 x\nE\nC0644 4 evil\nevil\0", true),
        (r"C0644 40 file\nshort", false),
        (r"C0644 4 file\nfour\001scp: read error\n", false),
        (r"D0755 0 file\nE\n", false),
        (r"C0644 99999999999999999999 file\n", false),
        (r"Welcome to this machine!\nC0644 4 file\nfour\0", false),
        ("", false),
    ] {
        let lib = Library::new();
        let Some(sshd) = Sshd::start(&format!("{}\n{NO_SFTP}", lying_scp(&lib, says))) else { return };
        let ssh = connect_by(&sshd, sshd.port, &lib, Some(FileTransferMethod::Scp)).await;
        let to = lib.join("into/file");
        let counter = Counter::default();
        let sink = if tree { Sink::Tree(&to) } else { Sink::File(&to) };
        let got = tokio::time::timeout(Duration::from_secs(20), ssh.download("/some/file", sink, &counter)).await;
        let got = got.expect("it ends");
        // What comes after a whole folder is not looked at.
        if got.is_ok() {
            assert_eq!((says.starts_with(r"D0755 0 x\nE\n"), lib.names("into/file").len()), (true, 0), "{says}");
            std::fs::remove_dir(&to).unwrap();
        }
        assert!(lib.names("into").is_empty(), "{says}: {:?}", lib.names("into"));
        assert!(!lib.join("evil").exists() && !lib.join("into/evil").exists(), "{says}");
    }
}

/// An SFTP server between OpenSSH's own and us, which changes what passes. `%` is what it does with a packet of the
/// client's (`c`) or the server's (`s`): its kind, its bytes.
const MANGLER: &str = r#"#!/usr/bin/env python3
import os, struct, subprocess, sys, threading
server = subprocess.Popen([SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
count = 0
def packets(read):
    while True:
        head = read.read(4)
        if len(head) < 4: return
        yield read.read(struct.unpack(">I", head)[0])
def send(write, packet):
    write.write(struct.pack(">I", len(packet)) + packet); write.flush()
def client(packet):
    return packet
def answer(packet):
    return packet
#CHANGES
def forward():
    for packet in packets(sys.stdin.buffer):
        send(server.stdin, client(packet))
    server.stdin.close()
threading.Thread(target=forward, daemon=True).start()
for packet in packets(server.stdout):
    send(sys.stdout.buffer, answer(packet))
"#;

fn mangled(lib: &Library, server: &str, changes: &str) -> String {
    let text = MANGLER.replace("SERVER", &format!("{server:?}")).replace("#CHANGES", changes);
    let program = lib.write("mangler", text);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("Subsystem sftp {}", program.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sftp_server_that_lies_or_ends_leaves_no_half_file() {
    let servers = ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server"];
    let Some(server) = servers.into_iter().find(|path| Path::new(path).exists()) else {
        return skip("OpenSSH's sftp-server is not installed");
    };
    if !has("python3") {
        return;
    }
    // Fewer bytes than were asked for, which is its right.
    let short = "def client(packet):\n    if packet[0] == 5:\n        n = min(1000, struct.unpack('>I', packet[-4:])[0])\n        \
                 return packet[:-4] + struct.pack('>I', n)\n    return packet\n";
    // A size that is not the file's (in answers that carry attributes).
    let long = "def answer(packet):\n    if packet[0] == 105 and packet[8] & 1:\n        return packet[:9] + \
                struct.pack('>Q', 9000000) + packet[17:]\n    return packet\n";
    // More bytes than were asked for.
    let more = "def answer(packet):\n    if packet[0] == 103:\n        n = struct.unpack('>I', packet[5:9])[0] + 200000\n        \
                return packet[:5] + struct.pack('>I', n) + packet[9:] + b'x' * 200000\n    return packet\n";
    // It ends in the middle.
    let end =
        "def answer(packet):\n    global count\n    count += 1\n    if count > 12: os._exit(1)\n    return packet\n";
    // It refuses a write in the middle: a quota.
    let quota = "def answer(packet):\n    global count\n    count += 1\n    if count == 12: return b'e' + packet[1:5] + \
                 struct.pack('>I', 4) + struct.pack('>I', 7) + b'Failure' + struct.pack('>I', 0)\n    return packet\n";
    let content = noise(8 << 20);
    for (changes, reads, writes) in
        [(short, true, true), (long, false, true), (more, false, true), (end, false, false), (quota, false, false)]
    {
        let lib = Library::new();
        let Some(sshd) = Sshd::start(&mangled(&lib, server, changes)) else { return };
        let mut ssh = connect_by(&sshd, sshd.port, &lib, None).await;
        let local = lib.write("local", &content);
        lib.write("remote/file", "before");
        let remote = lib.join("remote/file").display().to_string();
        let counter = Counter::default();
        let upload = ssh.upload(Source::File(&local), &remote, FileMeta::default(), &counter);
        let sent = tokio::time::timeout(Duration::from_secs(60), upload).await.expect(changes);
        assert_eq!(sent.is_ok(), writes, "{changes}: {sent:?}");
        let expected = if writes { content.as_slice() } else { b"before" };
        assert!(std::fs::read(&remote).unwrap() == expected, "{changes}");
        // Over a connection of its own: this one's server may have ended.
        ssh = connect_by(&sshd, sshd.port, &lib, None).await;
        let back = lib.join("back/file");
        let download = ssh.download(local.to_str().unwrap(), Sink::File(&back), &counter);
        let got = tokio::time::timeout(Duration::from_secs(60), download).await.expect(changes);
        assert_eq!(got.is_ok(), reads, "{changes}: {got:?}");
        if reads {
            assert!(std::fs::read(&back).unwrap() == content, "{changes}");
        } else {
            assert!(lib.names("back").is_empty(), "{changes}: {:?}", lib.names("back"));
        }
    }
}

/// More than the gibibyte after which both sides want new keys by default.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_gibibyte_survives_new_keys() {
    let lib = Library::new();
    let Some(sshd) = Sshd::start("RekeyLimit 200M") else { return };
    let ssh = connect(&sshd, &lib.cx).await;
    let local = lib.join("local");
    let mut file = std::fs::File::create(&local).unwrap();
    let block = noise(50 << 20);
    for n in 0..22u8 {
        file.write_all(&[n; 100]).unwrap();
        file.write_all(&block).unwrap();
    }
    drop(file);
    let remote = lib.join("remote").display().to_string();
    let counter = Counter::default();
    let size = 22 * (100 + (50 << 20));
    assert_eq!(ssh.upload(Source::File(&local), &remote, FileMeta::default(), &counter).await.unwrap(), size);
    tool(&lib.join(""), "cmp", &["local", "remote"]);
    assert_eq!(ssh.download(&remote, Sink::File(&lib.join("back")), &counter).await.unwrap(), size);
    tool(&lib.join(""), "cmp", &["local", "back"]);
}
