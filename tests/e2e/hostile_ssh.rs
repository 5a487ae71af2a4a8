//! SSH servers, and machines behind them, that stall, hang up, flood and send what no terminal should see.

use std::time::{Duration, Instant};

use rimg::communicator::ssh::{self, SshOptions, Target};
use rimg::engine::Seconds;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::communicator::{failure, options};
use crate::support::library::Library;
use crate::support::rimg::{Run, Sandbox};
use crate::support::ssh_stub::{Asks, PASSWORD, Stub};
use crate::support::sshd::Sshd;

/// A script on a machine at `port`; `vm` is the machine, `fails` expects an error.
fn script(port: u16, login: &str, body: &str) -> String {
    format!(
        r#"
        local rimg = require "rimg"
        local vm = rimg.host {{ name = "web", ssh_host = "127.0.0.1", ssh_port = {port}, {login} }}
        local function fails(kind, text, work)
          local ok, err = pcall(work)
          assert(not ok and err.kind == kind and tostring(err):find(text, 1, true), tostring(err))
        end
        -- What this process has taken at most, in KiB, and how many files it has open.
        local function peak() return tonumber(rimg.fs.read("/proc/self/status"):match "VmHWM:%s*(%d+)") end
        {body}"#
    )
}

fn on_stub(stub: &Stub, body: &str) -> Run {
    let login = format!("ssh_username = 'x', ssh_password = '{PASSWORD}', ssh_handshake_timeout = '2s'");
    Sandbox::new().run(&script(stub.port, &login, body), &[])
}

fn on_sshd(sandbox: &Sandbox, sshd: &Sshd, body: &str, args: &[&str]) -> Run {
    let login = format!("ssh_username = 'root', ssh_private_key_file = '{}'", sshd.user_key().display());
    sandbox.run(&script(sshd.port, &login, body), args)
}

/// Stands before a server and lets nothing through any more once the keys are agreed on and the client asks for a service.
async fn stalls_at_the_service_request(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = until_the_service_request(client, server).await;
                std::future::pending::<()>().await;
            });
        }
    });
    port
}

async fn until_the_service_request(client: TcpStream, server: u16) -> std::io::Result<()> {
    const NEWKEYS: u8 = 21;
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", server)).await?.into_split();
    let (from_client, mut to_client) = client.into_split();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            _ = stopped => {}
            _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
        }
        // Both ends stay open.
        std::future::pending::<()>().await;
        drop((from_server, to_client));
    });
    let mut from_client = BufReader::new(from_client);
    let mut line = Vec::new();
    from_client.read_until(b'\n', &mut line).await?;
    to_server.write_all(&line).await?;
    loop {
        // RFC 4253, section 6: the length, how much of it is padding, the message.
        let mut packet = from_client.read_u32().await?.to_be_bytes().to_vec();
        let length = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]) as usize;
        packet.resize(4 + length, 0);
        from_client.read_exact(&mut packet[4..]).await?;
        to_server.write_all(&packet).await?;
        if packet[5] == NEWKEYS {
            break;
        }
    }
    from_client.read_u8().await?;
    // What was said before that is heard.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let _ = stop.send(());
    std::future::pending::<()>().await;
    drop((from_client, to_server));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_when_a_service_is_asked_for_is_left() {
    let lib = Library::new();
    let stub = Stub::start(Asks::Password).await;
    let port = stalls_at_the_service_request(stub.port).await;
    let quick = SshOptions {
        ssh_password: Some(PASSWORD.into()),
        ssh_handshake_timeout: Some(Seconds(Duration::from_secs(1))),
        ..options()
    };
    let target = Target::new(&quick, "127.0.0.1", port, &lib.cx).await.unwrap();
    let error = failure(ssh::connect(&target, &lib.cx).await);
    assert!(error.message().contains("it did not answer in time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_or_hangs_up_with_a_command_is_an_error() {
    let stub = Stub::start(Asks::Password).await;
    let started = Instant::now();
    let run = on_stub(
        &stub,
        r#"
        assert(vm:run("echo").stdout == "echo")
        fails("connect", "did not run a command within 2s", function() vm:run "say nothing" end)
        fails("unsupported", "refuses to run commands", function() vm:run "refuse" end)
        -- As long as a command runs there is nothing that a server must say; a timeout is the script's.
        fails("timeout", "1s", function() vm:run("stop in the middle", { timeout = "1s" }) end)
        fails("timeout", "1s", function() vm:run("stop before the status", { timeout = "1s" }) end)
        fails("connect", "the command's end was not seen", function() vm:run "keep the status" end)
        fails("connect", "is gone", function() vm:run "hang up" end)
        -- What comes for ever after a command's end is let go.
        local r = vm:run("go on for ever", { quiet = true })
        assert(r.ok and r.truncated and #r.stdout == 16 << 20)
        assert(vm:run("and again").stdout == "and again")"#,
    );
    run.expect_code(0);
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn a_flood_of_output_is_bounded_and_said_to_be() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    let body = r#"
        local r = vm:run("yes 'a line of no interest' | head -c 1073741824")
        assert(r.ok and r.truncated and #r.stdout == 16 << 20)
        assert(peak() < 160 * 1024, peak() .. " KiB")
        -- Lines of nothing, and in nothing but one line; what is read in is bounded, too.
        assert(vm:run("yes '' | head -c 20000000; seq 1 200000 >&2").truncated)
        fails("unsupported", "larger than 64 MiB", function() vm:read "/dev/zero" end)
        local ok, err = pcall(vm.run, vm, "yes failed | head -c 20000000 >&2; echo last words >&2; exit 9")
        assert(err.status == 9 and tostring(err):find "last words")
        print("peak " .. peak())
        error(err)"#;
    let run = on_sshd(&sandbox, &sshd, body, &["--log-file", "log", "--json"]).expect_code(1);
    let said = |text: &str| run.stdout.matches(text).count();
    assert_eq!(said("[more than 100000 lines or 16 MiB of output: the rest is not shown]"), 4);
    assert_eq!(said("the result holds only the first 16 MiB"), 3, "a warning each");
    assert!(run.stdout.len() < 100 << 20, "{}", run.stdout.len());
    assert!(sandbox.read("log").len() < 40 << 20);
    let failed = run.events().into_iter().rfind(|event| event["error"]["fields"]["stderr"].is_string()).unwrap();
    assert!(failed["error"]["fields"]["stderr"].as_str().unwrap().len() < 70_000);
}

#[test]
fn a_run_whose_output_nobody_reads_waits_and_does_not_grow() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    let login = format!("ssh_username = 'root', ssh_private_key_file = '{}'", sshd.user_key().display());
    let body = r#"
        for _ = 1, 20 do vm:run("yes 'a line of no interest' | head -c 2000000") end
        print("the peak is " .. peak())"#;
    sandbox.write("build.lua", script(sshd.port, &login, body));
    let mut child = sandbox.command(["run", "build.lua"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let memory = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).unwrap_or(0)
    };
    // It comes to a standstill: what it has taken stays the same for a while.
    let (mut last, mut same, deadline) = (0, 0, Instant::now() + Duration::from_secs(120));
    while same < 20 {
        assert!(Instant::now() < deadline, "it grows: {last} KiB");
        std::thread::park_timeout(Duration::from_millis(200));
        let now = memory();
        same = if now == last && now > 20_000 { same + 1 } else { 0 };
        last = now;
    }
    assert!(child.try_wait().unwrap().is_none(), "it did not wait");
    assert!(last < 160 * 1024, "{last} KiB");
    // And goes on when somebody reads.
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.contains("the peak is "), "{}", text.len());
}

#[test]
fn long_lines_and_bytes_that_are_no_text_arrive() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    let body = r#"
        local r = vm:run("head -c 10000000 /dev/zero | tr '\\0' x; echo; echo behind")
        assert(#r.stdout == 10000008 and r.stdout:sub(-7) == "behind\n" and not r.truncated)
        r = vm:run [[printf 'a\377b\300\200c\n']]
        assert(r.stdout == "a\u{fffd}b\u{fffd}\u{fffd}c\n", r.stdout)
        vm:run("head -c 3000000 /dev/urandom")"#;
    let run = on_sshd(&sandbox, &sshd, body, &[]).expect_code(0);
    assert!(run.stdout.contains("xxx … (9991808 bytes more)\n"), "the long line is not cut");
    assert!(run.stdout.contains("a\u{fffd}b"));
    assert_plain(&run.stdout);
}

/// Fails the test if a text could do anything to a terminal but move on.
#[track_caller]
fn assert_plain(text: &str) {
    let strange = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(place) = text.find(|c: char| strange(&c)) {
        let around: String = text.get(place..).unwrap_or_default().chars().take(40).collect();
        panic!("what a terminal obeys is shown: {around:?}");
    }
}

#[test]
fn a_machine_cannot_paint_the_terminal() {
    let Some(sshd) = Sshd::start("") else { return };
    let sandbox = Sandbox::new();
    // ESC, CSI, OSC, DCS, their C1 forms, shift-out, backspace, carriage returns, BEL, bidirectional controls, separators.
    let evil = r"\033[2J\033[1;1H\033]0;title\007\033]8;;http://x\033\\link\033P+q\033\\ \302\2332J\302\235x\302\234 \016 a\bb \007 \r\rover \342\200\256 \342\201\246 \330\234 \342\200\250 \033c \033[8m end";
    let body = format!(
        "local evil = [[printf '{evil}\\n']]\n\
         vm:run(evil)\nvm:run(evil .. ' >&2')\nvm:shell {{ inline = {{ evil }}, env = {{ A = '\\27[2Jx' }} }}\n\
         rimg.step('step \\27[2J', function() rimg.log.warn('warn \\27[2J \\u{{9b}}2J \\u{{202e}}') end)\n\
         vm:run(evil .. ' >&2; exit 3', {{ check = true }})"
    );
    for args in [&["--log-file", "log"][..], &["--debug", "--timestamps"]] {
        let run = on_sshd(&sandbox, &sshd, &body, args).expect_code(1);
        assert!(run.stdout.contains("end") && run.stderr.contains("exited with status 3"), "{run:?}");
        assert_plain(&run.stdout);
        assert_plain(&run.stderr);
    }
    assert_plain(&sandbox.read("log"));
}
