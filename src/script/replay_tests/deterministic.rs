//! One case each of what makes an operation run again, and of what does not.

use super::world::{Ran, World};
use crate::engine::replay::run::Choices;
use crate::script::Outcome;

const THREE: &str = r#"
local vm = machine { cpus = 1 }
local one = vm:run "echo one | tee one"
vm:shell { inline = { "echo two >two" }, remote_folder = "." }
local three = vm:run "cat one two >three; cat three"
print((one.stdout .. three.stdout):gsub("\n", " ") .. tostring(one.cached) .. " " .. tostring(three.cached))
vm:finish { output_directory = "out", format = "tree" }
"#;

/// Runs a script for the first time, and again, which does nothing.
#[track_caller]
fn settled(world: &World, source: &str) -> Ran {
    let first = world.run(source).done();
    world.run(source).done().nothing_ran();
    first
}

fn message(ran: &Ran, text: &str) -> bool {
    ran.messages().iter().any(|message| message.contains(text))
}

#[test]
fn nothing_changed_and_no_machine_is_made() {
    let world = World::new();
    let first = world.run(THREE).done();
    assert_eq!((first.count("boot", ""), first.ran("echo one"), first.count("capture", "")), (1, 1, 1), "{first}");
    assert_eq!(world.read("out/vm/three"), "one\ntwo\n");
    let image = world.tree("out");
    world.remove("out");
    let again = world.run(THREE).done().nothing_ran();
    assert!(message(&again, "one one two true true"), "{again}");
    assert!(message(&first, "one one two false false"), "{first}");
    assert_eq!(again.operations(false), Vec::<String>::new(), "{again}");
    assert_eq!(world.tree("out"), image);
    // What is there already, and is the same, is left as it is, also without --force.
    world.run_with(THREE, |options| options.force = false).done().nothing_ran();
    // Another that is there is not overwritten without it.
    world.file("out/vm/three", "mine");
    let refused = world.run_with(THREE, |options| options.force = false).failed();
    assert_eq!((world.read("out/vm/three").as_str(), refused.count("capture", "")), ("mine", 0), "{refused}");
    world.run(THREE).done();
    assert_eq!(world.tree("out"), image);
}

#[test]
fn only_what_changed_and_what_follows_runs() {
    let world = World::new();
    settled(&world, THREE);
    // The last line: a machine that was booted before.
    let last = world.run(&THREE.replace("cat three", "cat three; echo more")).done();
    assert_eq!((last.count("boot", ""), last.count("resume", "")), (0, 1), "{last}");
    assert_eq!(last.operations(true), ["boot ", "run echo one | tee one", "shell echo two >two"], "{last}");
    assert!(message(&last, "one one two more true false"), "{last}");
    // Back again, and nothing runs: what was recorded is still there.
    world.run(THREE).done().nothing_ran();
    // In the middle.
    let inserted = world.run(&THREE.replace("vm:shell", "vm:run 'echo zero >>one' vm:shell")).done();
    assert!(message(&inserted, "one one zero two true false"), "{inserted}");
    let removed = world.run(&THREE.replace("vm:shell", "--vm:shell")).done();
    assert!(message(&removed, "one one true false"), "{removed}");
    // What the machine is.
    let other = world.run(&THREE.replace("cpus = 1", "cpus = 2")).done();
    assert_eq!((other.count("boot", ""), other.operations(true).len()), (1, 0), "{other}");
}

#[test]
fn files_count_by_content_and_mode_and_not_by_time() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.file("one", "1").file("tree/a", "a").file("base/x", "x").file("s.sh", "cat one");
    let source = r#"
        local vm = machine { source = "base" }
        vm:upload("one", "one")
        vm:upload("tree/", "tree")
        print("says " .. vm:shell { script = "s.sh", remote_folder = "." }.stdout .. vm:read("tree/a") .. vm:read("x"))
        vm:finish { output_directory = "out", format = "tree" }
    "#;
    let first = settled(&world, source);
    assert!(message(&first, "says 1ax"), "{first}");
    world.file("one", "1").file("tree/a", "a").file("base/x", "x");
    world.run(source).done().nothing_ran();
    for (name, text, says) in [("one", "2", "says 2ax"), ("tree/a", "b", "says 2bx"), ("base/x", "y", "says 2by")] {
        let ran = world.file(name, text).run(source).done();
        assert!(message(&ran, says), "{name}: {ran}");
        world.run(source).done().nothing_ran();
    }
    let ran = world.file("s.sh", "cat one one").run(source).done();
    assert!(message(&ran, "says 22by"), "{ran}");
    std::fs::set_permissions(world.path("one"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = world.run(source).done();
    assert_eq!(ran.count("upload", "one"), 1, "{ran}");
    std::fs::set_permissions(world.path("tree/a"), std::fs::Permissions::from_mode(0o600)).unwrap();
    world.run(source).done();
    assert!(world.tree("out")["vm/tree/a"].starts_with("600 "));
    world.file("tree/new", "n").run(source).done();
    assert!(world.tree("out").contains_key("vm/tree/new"));
}

#[test]
fn environment_options_and_variables_count() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        local v = rimg.var("v", { default = "0" })
        print("first " .. vm:run("echo $X", { env = { X = "1" } }).stdout)
        print("second " .. vm:run("echo v" .. v).stdout)
    "#;
    settled(&world, source);
    let ran = world.run(&source.replace("X = \"1\"", "X = \"2\"")).done();
    assert!(message(&ran, "first 2"), "{ran}");
    let ran = world.run_with(source, |options| options.vars = vec![("v".into(), "7".into())]).done();
    assert!(message(&ran, "second v7") && ran.ran("echo $X") <= 1, "{ran}");
    assert_eq!(ran.operations(true).len(), 2, "{ran}");
}

#[test]
fn a_script_decides_by_replayed_results_as_by_others() {
    let world = World::new();
    let source = |word: &str| {
        format!(
            r#"
            local vm = machine {{}}
            for i = 1, 3 do vm:run("echo " .. i .. " >>n") end
            local ok, err = pcall(vm.run, vm, "echo half >>n; echo sorry >&2; exit 3")
            print(ok, err.kind, err.status, err.stderr)
            if vm:run("cat n").stdout:find "half" then vm:run "echo yes >answer" else vm:run "echo no >answer" end
            local tries = 0
            rimg.retry({{ attempts = 3, backoff = "10s" }}, function()
              tries = tries + 1
              vm:run "echo x >>tries; test $(wc -l <tries) -ge {tries}"
            end)
            print(tries, vm:run("cat answer; echo {word}").stdout)
            "#,
            tries = 1
        )
    };
    let first = settled(&world, &source("a"));
    assert!(message(&first, "false\tcommand\t3\tsorry"), "{first}");
    let ran = world.run(&source("b")).done();
    assert_eq!(ran.operations(false).iter().filter(|title| title.starts_with("run ")).count(), 1, "{ran}");
    assert!(message(&ran, "1\tyes"), "{ran}");
    let replayed = ran.operations(true);
    assert!(replayed.iter().any(|title| title.contains("exit 3")), "{ran}");
}

#[test]
fn attempts_that_failed_are_replayed_without_waiting() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        rimg.retry({ attempts = 3, backoff = "600ms" }, function() vm:run "echo x >>t; test $(wc -l <t) -ge 3" end)
        print("tries " .. vm:run("wc -l <t").stdout)
    "#;
    world.run(source).done();
    let started = std::time::Instant::now();
    let ran = world.run(source).done().nothing_ran();
    assert!(message(&ran, "tries 3") && started.elapsed().as_millis() < 600, "{ran}");
}

#[test]
fn a_failed_build_goes_on_before_its_failure() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        vm:run "echo one >>one"
        vm:run "echo half >>one; exit 9"
        print("has " .. vm:run("cat one").stdout)
    "#;
    world.run(source).failed();
    // Not mended: it is tried again.
    let again = world.run(source).failed();
    assert_eq!((again.count("boot", ""), again.ran("exit 9")), (0, 1), "{again}");
    let mended = world.run(&source.replace("exit 9", "true")).done();
    assert_eq!(mended.operations(true), ["boot ", "run echo one >>one"], "{mended}");
    assert_eq!(mended.count("boot", ""), 0);
    // Nothing of the failed attempts is on the machine.
    assert_eq!(mended.messages().iter().filter(|text| text.contains("half")).count(), 1, "{mended}");
}

#[test]
fn what_is_never_or_not_for_long_replayed() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        vm:run "echo one"
        vm:run("echo never", { cache = false })
        vm:run "echo after"
    "#;
    world.run(source).done();
    let ran = world.run(source).done();
    assert_eq!((ran.ran("never"), ran.ran("after"), ran.count("boot", "")), (1, 1, 0), "{ran}");
    assert_eq!(ran.operations(true), ["boot ", "run echo one"], "{ran}");
    let world = World::new();
    let source = source.replace("cache = false", "max_age = \"1s\"");
    world.run(&source).done();
    let ran = world.run_with(&source, |options| options.replay = None).done();
    assert_eq!((ran.count("boot", ""), ran.count("save", "")), (1, 0), "{ran}");
    let cache = super::world::files(&world.path("cache"));
    let records = cache.iter().filter(|path| path.extension().is_some_and(|e| e == "json")).count();
    std::thread::park_timeout(std::time::Duration::from_millis(2100));
    let ran = world.run(&source).done();
    assert_eq!((ran.ran("never"), ran.ran("after")), (1, 1), "{ran}");
    assert!(records > 0);
}

#[test]
fn fresh_and_from_run_again_and_explain_says_why() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        vm:run "echo one"
        rimg.step("second", function() vm:run "echo two" end)
        vm:checkpoint "here"
        vm:run("echo three", { env = { X = "old" } })
    "#;
    settled(&world, source);
    let with = |choices: Choices| move |options: &mut crate::script::RunOptions| options.replay = Some(choices);
    let fresh = world.run_with(source, with(Choices { fresh: true, ..Choices::default() })).done();
    assert_eq!((fresh.count("boot", ""), fresh.operations(true).len()), (1, 0), "{fresh}");
    world.run(source).done().nothing_ran();
    for (from, ran_again) in [("second", ["two", "three"].as_slice()), ("here", &["three"])] {
        let choices = Choices { from: Some(from.into()), ..Choices::default() };
        let ran = world.run_with(source, with(choices)).done();
        let live = ran.operations(false);
        for word in ["one", "two", "three"] {
            let again = live.iter().any(|title| title == &format!("run echo {word}"));
            assert_eq!(again, ran_again.contains(&word), "--from {from}: {word}: {ran}");
        }
        assert_eq!(ran.count("boot", ""), 0, "{ran}");
    }
    let missed = with(Choices { from: Some("nonesuch".into()), ..Choices::default() });
    let ran = world.run_with(source, missed).done();
    assert!(message(&ran, "--from nonesuch: no step"), "{ran}");
    let explain = || with(Choices { explain: true, ..Choices::default() });
    let ran = world.run_with(&source.replace("old", "new"), explain()).done();
    assert!(
        ran.messages()
            .iter()
            .any(|text| text.contains("options.env.X") && text.contains("old") && text.contains("new")),
        "{ran}"
    );
    let stamped = source.replace("vm:run \"echo two\"", "vm:run('echo ' .. rimg.timestamp())");
    world.run(&stamped).done();
    std::thread::park_timeout(std::time::Duration::from_millis(1100));
    let ran = world.run_with(&stamped, explain()).done();
    assert!(message(&ran, "rimg.timestamp()"), "{ran}");
}

#[test]
fn a_checkpoint_is_gone_on_from() {
    let world = World::new();
    let source = |last: &str| {
        format!(
            r#"
            local vm = machine {{}}
            vm:run "echo 1 >>n; echo m >>$MEMORY/m"
            vm:checkpoint "here"
            vm:run "echo 2 >>n"
            print("has " .. vm:run("cat n $MEMORY/m | tr '\n' ' '; echo {last}").stdout)
            vm:finish {{ output_directory = "out" }}
            "#
        )
    };
    settled(&world, &source("a"));
    let ran = world.run(&source("b")).done();
    // Not what came before it; what came after it is done again, and seen once.
    assert_eq!((ran.ran("echo 1"), ran.ran("echo 2"), ran.count("boot", "")), (0, 1, 0), "{ran}");
    assert!(message(&ran, "has 1 2 m b"), "{ran}");
}

#[test]
fn a_file_of_the_host_that_the_script_changes_is_redone_as_it_was() {
    let world = World::new();
    let source = |last: &str| {
        format!(
            r#"
            local vm = machine {{}}
            for i = 1, 2 do
              rimg.fs.write("made", "made " .. i)
              vm:upload("made", "made" .. i)
            end
            print("has " .. vm:run("cat made1 made2; echo {last}").stdout)
            "#
        )
    };
    settled(&world, &source("a"));
    let ran = world.run(&source("b")).done();
    assert!(message(&ran, "has made 1made 2b"), "{ran}");
}

#[test]
fn branches_side_by_side_have_chains_of_their_own() {
    let world = World::new();
    let source = |word: &str| {
        format!(
            r#"
            local vm = machine {{}}
            local outs = rimg.parallel {{
              a = function() rimg.exec "sleep 0.0$(($(date +%N | cut -c1) / 2))" vm:run "echo a1 >a" return vm:run("echo a2 >>a; cat a").stdout end,
              b = function() vm:run "echo b1 >b" return vm:run("echo {word} >>b; cat b").stdout end,
            }}
            print((outs.a .. outs.b):gsub("\n", " ") .. vm:run("cat a b | wc -l").stdout)
            "#
        )
    };
    settled(&world, &source("b2"));
    // Which of the branches comes first is another each time.
    let ran = world.run(&source("b3")).done();
    assert!(ran.operations(true).contains(&"run echo b1 >b".to_owned()) && ran.ran("echo a1") <= 1, "{ran}");
    assert!(message(&ran, "a1 a2 b1 b3 4"), "{ran}");
}

#[test]
fn builds_with_the_same_beginning_boot_once_and_go_on_from_it() {
    let world = World::new();
    let source = r#"
        for i = 1, 4 do
          rimg.build("b" .. i, function()
            local vm = machine { boot_time = "300ms" }
            vm:run "echo same >same"
            print("has " .. vm:run("cat same; echo " .. i).stdout:gsub("\n", " "))
            vm:finish { output_directory = "out/" .. i }
          end)
        end
    "#;
    let ran = settled(&world, source);
    assert_eq!((ran.count("boot", ""), ran.count("resume", "")), (1, 3), "{ran}");
    assert!((1..=4).all(|i| message(&ran, &format!("has same {i}"))), "{ran}");
    // Another script on that machine.
    let ran = world.run("local vm = machine {} vm:run 'echo new'").done();
    assert_eq!((ran.count("boot", ""), ran.count("resume", "")), (0, 1), "{ran}");
}

#[test]
fn runs_at_once_share_a_cache() {
    let world = World::new();
    let other = World::new();
    std::fs::remove_dir_all(other.path("cache")).unwrap();
    std::fs::create_dir(world.path("state")).unwrap();
    std::os::unix::fs::symlink(world.path("cache"), other.path("cache")).unwrap();
    std::os::unix::fs::symlink(world.path("state"), other.path("state")).unwrap();
    let source = THREE.replace("cpus = 1", "cpus = 1, boot_time = '200ms'");
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(|| world.run(&source)), scope.spawn(|| other.run(&source)));
        (one.join().unwrap(), two.join().unwrap())
    });
    let (one, two) = (one.done(), two.done());
    assert_eq!(one.count("boot", "") + two.count("boot", ""), 1, "{one}{two}");
    assert_eq!(world.tree("out"), other.tree("out"));
    world.run(&source).done().nothing_ran();
    other.run(&source).done().nothing_ran();
}

#[test]
fn forks_go_on_side_by_side_from_one_point() {
    let world = World::new();
    let source = |word: &str| {
        format!(
            r#"
            local vm = machine {{}}
            vm:run "echo shared >f; echo m >$MEMORY/m"
            vm:fork {{
              web = function(vm) vm:run "echo web >>f" print("web " .. vm:run("cat f $MEMORY/m | tr '\n' ' '").stdout)
                vm:finish {{ output_directory = "out/web", format = "tree" }} end,
              db = function(vm) vm:run "echo {word} >>f" vm:finish {{ output_directory = "out/db", format = "tree" }} end,
            }}
            "#
        )
    };
    let first = settled(&world, &source("db"));
    assert_eq!((first.count("boot", ""), first.ran("echo shared")), (1, 1), "{first}");
    assert!(message(&first, "web shared web m"), "{first}");
    assert_eq!(
        (world.read("out/web/vm/f"), world.read("out/db/vm/f")),
        ("shared\nweb\n".into(), "shared\ndb\n".into())
    );
    let ran = world.run(&source("other")).done();
    assert_eq!((ran.ran("echo shared"), ran.ran("echo web"), ran.ran("echo other")), (0, 0, 1), "{ran}");
    assert_eq!(world.read("out/db/vm/f"), "shared\nother\n");
    let inside = r#"
        local vm = machine {}
        rimg.parallel({ 1, 2 }, function()
          vm:run "echo a"
          local ok, err = pcall(vm.fork, vm, { x = function() end })
          assert(not ok and err.message:find "other branches", tostring(err))
        end)
    "#;
    world.run(inside).done();
}

#[test]
fn a_cancelled_run_is_gone_on_with() {
    let world = World::new();
    let source = r#"
        local vm = machine {}
        vm:run "echo 1 >>n"
        vm:run "echo 2 >>n; if [ -e $MEMORY/quick ]; then :; else sleep 0.3; fi"
        print("has " .. vm:run("tr '\n' ' ' <n").stdout)
    "#;
    // The boot is the first operation.
    let cut = world.run_until(source, Some(3), |_| {});
    assert_eq!(cut.outcome, Outcome::Cancelled, "{cut}");
    let ran = world.run(source).done();
    assert!(message(&ran, "has 1 2 "), "{ran}");
    assert!(ran.operations(true).contains(&"run echo 1 >>n".to_owned()), "{ran}");
    assert_eq!(ran.count("boot", ""), 0, "{ran}");
    world.run(source).done().nothing_ran();
}

#[test]
fn no_secret_is_kept() {
    let world = World::new();
    let canary = "c4nary-Sekret-99173";
    let source = r#"
        local secret = rimg.secret "token"
        local vm = machine {}
        vm:run("echo $S >s; cat s", { env = { S = secret } })
        vm:run("echo " .. secret .. " >&2")
        vm:run("cat >t", { input = "in " .. secret })
        vm:write("w", "content " .. secret)
        vm:shell { inline = { "echo " .. secret .. " | cut -c1-" }, remote_folder = "." }
        pcall(vm.run, vm, "echo " .. secret .. "; exit 1")
        rimg.fs.write("made", secret)
        vm:upload("made", "made")
        print(vm:read("s") == secret .. "\n", vm:run("cat w").stdout == "content " .. secret)
    "#;
    let with = |value: &str| {
        let vars = vec![("token".to_owned(), value.to_owned())];
        move |options: &mut crate::script::RunOptions| options.vars = vars
    };
    let first = world.run_with(source, with(canary)).done();
    assert!(message(&first, "true\ttrue"), "{first}");
    // Results with it in them come back all the same.
    let again = world.run_with(source, with(canary)).done().nothing_ran();
    assert!(message(&again, "true\ttrue"), "{again}");
    let other = world.run_with(source, with("c4nary-Another-00001")).done();
    assert!(other.operations(true).len() <= 1, "{other}");
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(canary);
    // The base64 of what begins before or ends behind it differs at both ends.
    let middle = |text: &str| text.get(4..text.len() - 4).unwrap().to_owned();
    let needles = [
        canary.to_owned(),
        hex::encode(canary),
        middle(&base64),
        middle(&base64::engine::general_purpose::STANDARD.encode(format!("x{canary}"))),
        middle(&base64::engine::general_purpose::STANDARD.encode(format!("xx{canary}"))),
        blake3::hash(canary.as_bytes()).to_hex().to_string(),
        blake3::hash(format!("content {canary}").as_bytes()).to_hex().to_string(),
        blake3::hash(format!("in {canary}").as_bytes()).to_hex().to_string(),
    ];
    let mut looked_at = 0;
    for path in super::world::files(&world.path("cache")) {
        // A checkpoint is the machine's memory and disk, as private as those.
        if path.components().any(|part| part.as_os_str() == "checkpoints") {
            continue;
        }
        looked_at += 1;
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for needle in &needles {
            assert!(!text.contains(needle.as_str()), "{needle} is in {}:\n{text}", path.display());
        }
    }
    assert!(looked_at > 8, "{looked_at}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(world.path("cache/replay")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn what_is_damaged_is_noticed_and_made_again() {
    let source = |word: &str| THREE.replace("cat three", &format!("cat three; echo {word}"));
    type Change = fn(Vec<u8>) -> Option<Vec<u8>>;
    let changes: [(&str, Change); 4] = [
        ("removed", |_| None),
        ("emptied", |_| Some(Vec::new())),
        ("truncated", |mut bytes| {
            bytes.truncate(bytes.len() / 2);
            Some(bytes)
        }),
        ("changed", |mut bytes| {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 1;
            }
            Some(bytes)
        }),
    ];
    for part in ["records", "checkpoints", "files"] {
        for (what, change) in changes {
            let world = World::new();
            world.run(&source("a")).done();
            let image = world.tree("out");
            let folder = world.path("cache/replay").join(part);
            let all = super::world::files(&folder);
            assert!(!all.is_empty(), "{part}: {:?}", super::world::files(&world.path("cache")));
            for path in all {
                match change(std::fs::read(&path).unwrap()) {
                    None => std::fs::remove_file(&path).unwrap(),
                    Some(bytes) => {
                        crate::host::atomic::remove(&path);
                        std::fs::write(&path, bytes).unwrap();
                    }
                }
            }
            world.remove("out");
            // First where they are needed, then all of it.
            let ran = world.run(&source("b")).done();
            assert!(message(&ran, "one one two b"), "{part} {what}: {ran}");
            let ran = world.run(&source("a")).done();
            assert!(message(&ran, "one one two a"), "{part} {what}: {ran}");
            assert_eq!(world.tree("out"), image, "{part} {what}: {ran}");
            world.run(&source("a")).done().nothing_ran();
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_taken_is_no_reason_to_fail() {
    for option in ["save_fails = true", "rest_fails = true", "without_checkpoints = true"] {
        let world = World::new();
        let source = THREE.replace("cpus = 1", option);
        world.run(&source).done();
        world.remove("out");
        world.run(&source).done().nothing_ran();
        // There is nothing to go on from but the beginning.
        let ran = world.run(&source.replace("cat three", "cat three; echo more")).done();
        assert_eq!((ran.count("boot", ""), ran.count("resume", ""), ran.ran("echo one")), (1, 0, 1), "{option}: {ran}");
        assert!(message(&ran, "one one two more"), "{option}: {ran}");
    }
}

#[test]
fn an_upload_whose_source_changes_while_it_is_read_is_never_replayed_as_what_it_was_not() {
    let world = World::new();
    world.file("big", &"a".repeat(3 << 20));
    let source = r#"
        local vm = machine {}
        rimg.parallel {
          function() vm:upload("big", "big") end,
          function() rimg.exec { "sh", "-c", "for i in 1 2 3 4 5 6 7 8; do printf b >>big; done" } end,
        }
        vm:run "true"
        vm:finish { output_directory = "out", format = "tree" }
    "#;
    // It may fail, and it may have read any of the states; what it says later has to be true.
    world.run(source);
    let quiet = source.replace("printf b >>big", "true");
    let ran = world.run(&quiet).done();
    assert_eq!(world.read("out/vm/big"), world.read("big"), "{}", ran.operations(true).join("\n"));
}

#[test]
fn a_name_that_differs_from_build_to_build_is_not_shared() {
    let world = World::new();
    let source = r#"
        for _, name in ipairs { "one", "two" } do
          rimg.build(name, function()
            local vm = machine {}
            print(name .. " is " .. vm:shell { inline = { "echo $PACKER_BUILD_NAME" }, remote_folder = "." }.stdout)
          end)
        end
    "#;
    let ran = world.run(source).done();
    assert!(message(&ran, "one is one") && message(&ran, "two is two"), "{ran}");
}
