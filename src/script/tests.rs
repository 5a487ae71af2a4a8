//! What the runtime promises, shown by scripts.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Inspection, Outcome, RunOptions};
use crate::engine::{Mode, Scope};
use crate::error::{Error, Kind};
use crate::ui::event::ErrorReport;
use crate::ui::{Event, Renderer, Stamped, Ui};

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Renderer for Recorder {
    fn event(&mut self, stamped: &Stamped) {
        self.0.lock().unwrap().push(stamped.event.clone());
    }
}

struct Ran {
    outcome: Outcome,
    inspection: Inspection,
    events: Vec<Event>,
}

impl Ran {
    fn messages(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Message { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }

    fn error(&self) -> ErrorReport {
        let report = |event: &Event| match event {
            Event::Failed { error } | Event::BuildFinished { error: Some(error), .. } => Some(error.clone()),
            _ => None,
        };
        self.events.iter().find_map(report).expect("an error")
    }
}

struct Script {
    dir: tempfile::TempDir,
    options: RunOptions,
    cancel_after: Option<Duration>,
}

fn script(source: &str) -> Script {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("build.lua");
    std::fs::write(&path, source).unwrap();
    let options = RunOptions::new(path);
    Script { dir, options, cancel_after: None }
}

impl Script {
    fn with(self, change: impl FnOnce(&mut RunOptions)) -> Script {
        let mut this = self;
        change(&mut this.options);
        this
    }

    fn file(self, name: &str, text: &str) -> Script {
        let path: PathBuf = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn run(self) -> Ran {
        let recorder = Recorder::default();
        let (ui, thread) = Ui::start(vec![Box::new(recorder.clone())]);
        let scope = Scope::new();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
        let (outcome, inspection) = runtime.block_on(async {
            if let Some(after) = self.cancel_after {
                let scope = scope.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    scope.cancel(Error::new(Kind::Cancelled, "cancelled by a test"));
                });
            }
            super::run(self.options, ui.clone(), scope).await
        });
        thread.join();
        let events = recorder.0.lock().unwrap().clone();
        Ran { outcome, inspection, events }
    }
}

#[test]
fn a_script_without_builds_is_one_build() {
    let ran = script("print('hello', 1)").run();
    assert_eq!(ran.outcome, Outcome::Done);
    assert_eq!(ran.messages(), ["hello\t1"]);
    let names: Vec<_> = ran
        .events
        .iter()
        .filter_map(|e| if let Event::BuildFinished { build, .. } = e { Some(build) } else { None })
        .collect();
    assert_eq!(names, ["build"]);
}

#[test]
fn builds_run_side_by_side_and_give_their_results() {
    // Each waits for the other to begin: one after the other they would wait for ever.
    let ran = script(
        r#"
        local rimg = require "rimg"
        local begun = {}
        local function meet(own, other)
          begun[own] = true
          while not begun[other] do rimg.sleep(0.01) end
        end
        local a = rimg.build("a", function() meet("a", "b"); return "from a", 2 end)
        local b = rimg.build("b", function() meet("b", "a"); return "from b" end)
        rimg.build("c", function() local x, n = a:await(); print(x, n, b:await()) end)
        "#,
    )
    .run();
    assert_eq!((ran.outcome, ran.messages()), (Outcome::Done, vec!["from a\t2\tfrom b".to_owned()]));
}

#[test]
fn one_place_is_enough_for_builds_that_await() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        local b
        rimg.build("a", function() print("a got " .. b:await()) end)
        b = rimg.build("b", function() rimg.sleep(0.05) return "b" end)
        "#,
    )
    .with(|o| o.parallel = Some(1))
    .run();
    assert_eq!((ran.outcome, ran.messages()), (Outcome::Done, vec!["a got b".to_owned()]));
}

#[test]
fn awaiting_in_a_circle_names_the_circle() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        local a, b
        a = rimg.build("a", function() rimg.sleep(0.01) b:await() end)
        b = rimg.build("b", function() rimg.sleep(0.02) a:await() end)
        "#,
    )
    .run();
    assert_eq!(ran.outcome, Outcome::Failed);
    assert!(ran.error().message.contains("these builds wait for each other: b -> a -> b"), "{:?}", ran.error());
}

#[test]
fn a_failed_build_lets_the_others_finish() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        rimg.build("bad", function() error("boom") end)
        rimg.build("good", function() rimg.sleep(0.05) print("done") end)
        "#,
    )
    .run();
    assert_eq!((ran.outcome, ran.messages()), (Outcome::Failed, vec!["done".to_owned()]));
    assert_eq!(ran.error().location.as_deref(), Some("build.lua:3"));
}

#[test]
fn only_and_except_choose_but_awaited_builds_run() {
    let source = r#"
        local rimg = require "rimg"
        local base = rimg.build("base", function() print "base" return 1 end)
        rimg.build("web", function() base:await() print "web" end)
        rimg.build("db", function() base:await() print "db" end)
    "#;
    let ran = script(source).with(|o| o.only = vec!["w*".into()]).run();
    assert_eq!(ran.messages(), ["base", "web"]);
    assert!(ran.events.iter().any(|e| matches!(e, Event::BuildSkipped { build } if build == "db")));
}

#[test]
fn pcall_error_and_own_coroutines_work_across_awaits() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        local gen = coroutine.wrap(function(first)
          print("in", first)
          for i = 1, 3 do rimg.sleep(0.01) local got = coroutine.yield(i) print("got", got) end
          return "end"
        end)
        print(gen("x")) print(gen("y")) print(gen("z")) print(gen("w"))
        local co = coroutine.create(function() rimg.sleep(0.01) error({ code = 7 }) end)
        local ok, err = coroutine.resume(co)
        print(ok, err.code, coroutine.status(co))
        local ok, err = pcall(function() rimg.sleep(0.01) rimg.timeout("20ms", function() rimg.sleep(5) end) end)
        print(ok, err.kind, err.hint ~= nil)
        local t = setmetatable({}, { __index = function(_, k) rimg.sleep(0.01) return k .. "!" end })
        print(t.late)
        for v in coroutine.wrap(function() for i = 1, 2 do rimg.sleep(0.01) coroutine.yield(i) end end) do print(v) end
        "#,
    )
    .run();
    let expected = "in\tx|1|got\ty|2|got\tz|3|got\tw|end|false\t7\tdead|false\ttimeout\ttrue|late!|1|2";
    assert_eq!(ran.messages().join("|"), expected);
    assert_eq!(ran.outcome, Outcome::Done);
}

#[test]
fn errors_show_line_source_traceback_and_fields() {
    let ran = script("local rimg = require 'rimg'\nlocal m = require 'lib.mod'\nm.go()\nprint('never')\n")
        .file("lib/mod.lua", "local M = {}\nfunction M.go()\n  local x = nil\n  x.field = 1\nend\nreturn M\n")
        .run();
    let error = ran.error();
    assert_eq!(ran.outcome, Outcome::ScriptError);
    assert_eq!(error.message, "attempt to index a nil value (local 'x')");
    assert_eq!(error.location.as_deref(), Some("lib/mod.lua:4"));
    assert!(error.excerpt.as_deref().unwrap().contains("> 4 |   x.field = 1"), "{:?}", error.excerpt);
    assert!(error.traceback.iter().any(|l| l.starts_with("build.lua:3:")), "{:?}", error.traceback);
    assert!(!error.traceback.iter().any(|l| l.contains("prelude") || l.contains("[C]")), "{:?}", error.traceback);
}

#[test]
fn a_syntax_error_is_found_before_anything_runs() {
    let ran = script("print('x')\nlocal = 3\n").run();
    assert_eq!((ran.outcome, ran.error().location), (Outcome::ScriptError, Some("build.lua:2".into())));
    assert!(ran.messages().is_empty());
}

#[test]
fn an_error_keeps_its_first_place_when_it_is_raised_again() {
    let ran = script(
        "local rimg = require 'rimg'\nrimg.build('b', function()\n  rimg.step('s', function()\n    rimg.parallel({1}, function()\n      error({ message = 'deep', hint = 'look' })\n    end)\n  end)\nend)\n",
    )
    .run();
    let error = ran.error();
    assert_eq!((error.message.as_str(), error.hints.as_slice()), ("deep", &["look".to_owned()][..]));
    assert_eq!(error.location.as_deref(), Some("build.lua:5"));
}

#[test]
fn an_error_in_a_step_of_a_module_is_at_the_line_that_called_the_module() {
    let module =
        "local rimg = require 'rimg'\nreturn function()\n  rimg.step('s', function() rimg.fail('no') end)\nend\n";
    let ran = script("local work = require 'work'\nlocal function go()\n  work()\nend\ngo()\n")
        .file("work.lua", module)
        .run();
    let traceback = ran.error().traceback.join("|");
    assert!(traceback.contains("work.lua:3:") && traceback.contains("build.lua:3:"), "{traceback}");
}

#[test]
fn an_option_error_names_the_line_and_the_nearest_option() {
    let ran = script("local rimg = require 'rimg'\n\nrimg.retry({ atempts = 2 }, function() end)\n").run();
    let error = ran.error();
    assert_eq!(error.location.as_deref(), Some("build.lua:3"));
    assert_eq!(error.hints, ["did you mean `attempts`?"]);
    let ran = script("local rimg = require 'rimg'\nrimg.biuld('x', function() end)\n").run();
    assert_eq!(
        (ran.error().message.as_str(), ran.error().hints),
        ("rimg has no `biuld`", vec!["did you mean `build`?".into()])
    );
}

#[test]
fn a_wrong_option_in_a_build_is_an_error_before_anything_ran() {
    let wrong = "local rimg = require 'rimg'\nrimg.build('b', function() rimg.retry({ attempt = 1 }, print) end)\n";
    assert_eq!(script(wrong).run().outcome, Outcome::ScriptError);
    let after = wrong.replace("rimg.retry", "rimg.exec 'true' rimg.retry");
    assert_eq!(script(&after).run().outcome, Outcome::Failed);
}

#[test]
fn waiting_inside_a_sort_is_explained() {
    let ran =
        script("local rimg = require 'rimg'\ntable.sort({3,2,1}, function(a, b) rimg.sleep(0.01) return a < b end)\n")
            .run();
    let error = ran.error();
    assert!(error.message.contains("where Lua cannot wait"), "{error:?}");
    assert_eq!(error.location.as_deref(), Some("build.lua:2"));
}

#[test]
fn modules_are_found_or_the_places_named() {
    let ran = script("require 'missing.mod'").run();
    let error = ran.error();
    assert_eq!(error.message, "there is no module \"missing.mod\"");
    assert!(error.hints[0].ends_with("missing/mod.lua"), "{:?}", error.hints);
    let ran = script("require 'a'").file("a.lua", "require 'b'").file("b.lua", "require 'a'").run();
    assert!(ran.error().message.contains("in a circle"), "{:?}", ran.error());
    let ran = script("local rimg = require 'rimg'\nfor i = 1, 2 do rimg.build('b' .. i, function() print((require('slow'))) end) end")
        .file("slow.lua", "require('rimg').sleep(0.05) print 'once' return 42")
        .run();
    assert_eq!(ran.messages(), ["once", "42", "42"]);
}

#[test]
fn variables_come_typed_and_are_checked() {
    let source = r#"
        local rimg = require "rimg"
        local n = rimg.var("n", { default = 3, help = "how many" })
        print(math.type(n), n, rimg.var("name", { choices = { "x", "y" } }))
    "#;
    let var = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let ran = script(source).with(|o| o.vars = vec![var("n", "5"), var("name", "x"), var("nmae", "y")]).run();
    assert_eq!(ran.messages()[0], "integer\t5\tx");
    assert!(ran.messages()[1].contains("did you mean `name`?"), "{:?}", ran.messages());
    let ran = script(source).run();
    assert_eq!((ran.outcome, ran.error().message), (Outcome::ScriptError, "the variable `name` has no value".into()));
    let ran = script(source).with(|o| o.vars = vec![var("name", "z")]).run();
    assert!(ran.error().message.contains("not one of x, y"));
    let ran = script(source).with(|o| o.mode = Mode::Inspect).run();
    assert_eq!(ran.inspection.variables.len(), 2);
    assert_eq!(ran.inspection.variables[0].default.as_deref(), Some("3"));
}

#[test]
fn variables_files_of_every_kind_agree() {
    let source = "local r = require 'rimg'\nprint(r.var('a'), r.var('b', { default = {} })[2])";
    for (file, text) in [
        ("v.json", r#"{"a": "x", "b": [1, 2]}"#),
        ("v.toml", "a = 'x'\nb = [1, 2]"),
        ("v.yaml", "a: x\nb: [1, 2]"),
        ("v.lua", "return { a = 'x', b = { 1, 2 } }"),
    ] {
        let script = script(source).file(file, text);
        let path = script.dir.path().join(file);
        let ran = script.with(|o| o.var_files = vec![path]).run();
        assert_eq!(ran.messages(), ["x\t2"], "{file}: {:?}", ran.events);
    }
}

#[test]
fn secrets_are_masked() {
    let source = "local r = require 'rimg'\nlocal s = r.secret('token')\nprint('it is ' .. s, #s)";
    let ran = script(source).with(|o| o.vars = vec![("token".into(), "s3cr3t-value".into())]).run();
    assert_eq!(ran.messages(), ["it is ********\t12"]);
    let ran = script("print(require('rimg').secret('none', { optional = true }))").run();
    assert_eq!(ran.messages(), ["nil"]);
}

#[test]
fn cancelling_unwinds_what_waits_and_what_computes() {
    for source in [
        "require('rimg').build('b', function() pcall(require('rimg').sleep, 60) print('survived') end)",
        "require('rimg').build('b', function() while true do end end)",
    ] {
        let mut script = script(source);
        script.cancel_after = Some(Duration::from_millis(100));
        let started = Instant::now();
        let ran = script.run();
        assert_eq!(ran.outcome, Outcome::Cancelled, "{source}");
        assert!(ran.messages().is_empty() && started.elapsed() < Duration::from_secs(30), "{source}");
    }
}

#[test]
fn retry_calls_again_and_gives_up() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        local n = 0
        print(rimg.retry({ attempts = 3, backoff = 0.01 }, function() n = n + 1; if n < 3 then error("no " .. n) end return n end))
        local calls = 0
        local ok, err = pcall(rimg.retry, { attempts = 5, backoff = 0, on = { "network" } }, function() calls = calls + 1 error("x") end)
        print(ok, calls)
        "#,
    )
    .run();
    let messages = ran.messages();
    assert!(messages[0].contains("attempt 1 of 3 failed") && messages[0].contains("no 1"), "{messages:?}");
    assert_eq!(&messages[2..], ["3", "false\t1"]);
}

#[test]
fn parallel_limits_collects_and_stops_at_the_first_error() {
    let ran = script(
        r#"
        local rimg = require "rimg"
        local now, most = 0, 0
        local squares = rimg.parallel({ 1, 2, 3, 4, five = 5 }, function(n)
          now = now + 1; most = math.max(most, now); rimg.sleep(0.02); now = now - 1
          return n * n
        end, { limit = 2 })
        print(squares[1], squares[4], squares.five, most)
        local r = rimg.parallel { a = function() return "A" end, b = function() rimg.sleep(0.01) return "B" end }
        print(r.a, r.b)
        print(pcall(rimg.parallel, { 1, 2 }, function(n) if n == 1 then error("first", 0) end rimg.sleep(60) end))
        "#,
    )
    .run();
    assert_eq!(ran.messages(), ["1\t16\t25\t2", "A\tB", "false\tfirst"]);
}

#[test]
fn the_script_cannot_leave_without_cleaning_up() {
    let ran = script("os.exit(0)").run();
    assert_eq!(ran.outcome, Outcome::ScriptError);
    let ran = script("print(debug.getregistry, debug.traceback ~= nil, package.loadlib)").run();
    assert_eq!(ran.messages(), ["nil\ttrue\tnil"]);
}

#[test]
fn a_check_forgives_a_script_that_gives_up_on_an_empty_answer() {
    let source = r#"
        local rimg = require "rimg"
        local vm = rimg.localhost {}
        rimg.retry({ attempts = 9 }, function()
          if vm:run("cat /etc/hostname").stdout == "" then rimg.fail("no name") end
        end)
    "#;
    let ran = script(source).with(|o| o.mode = Mode::Check).run();
    assert_eq!(ran.outcome, Outcome::Done);
    assert!(ran.messages()[0].starts_with("checked up to build.lua:5"), "{:?}", ran.messages());
    let ran = script("require('rimg').fail('always')").with(|o| o.mode = Mode::Check).run();
    assert_eq!(ran.outcome, Outcome::ScriptError);
}

#[test]
fn a_script_that_fails_after_it_touched_the_world_is_a_failed_run() {
    let touching = [
        "rimg.exec('true')",
        "rimg.fs.write('a', 'x')",
        "rimg.fs.append('a', 'x')",
        "rimg.fs.mkdir('d')",
        "rimg.fs.remove('none')",
        "pcall(rimg.fs.copy, 'none', 'a')",
        "pcall(rimg.http.get, 'http://127.0.0.1:9/', { timeout = 2 })",
    ];
    for line in touching {
        let ran = script(&format!("local rimg = require 'rimg'\n{line}\nerror('no')")).run();
        assert_eq!((ran.outcome, ran.error().location), (Outcome::Failed, Some("build.lua:3".into())), "{line}");
        let ran = script(&format!("local rimg = require 'rimg'\n{line}\nerror('no')")).with(|o| o.mode = Mode::Check);
        assert_eq!(ran.run().outcome, Outcome::ScriptError, "{line}");
    }
    for line in ["rimg.fs.exists('a')", "rimg.hash.sha256('x')", "pcall(rimg.exec, 'x', { envv = 1 })"] {
        let ran = script(&format!("local rimg = require 'rimg'\n{line}\nerror('no')")).run();
        assert_eq!(ran.outcome, Outcome::ScriptError, "{line}");
    }
}

#[test]
fn an_error_in_a_provisioner_is_at_its_own_line() {
    let source = "local rimg = require 'rimg'\nlocal vm = rimg.localhost {}\nvm:apply(function(vm, x)\n  local y = x.no.such\nend, {})\n";
    let ran = script(source).run();
    assert_eq!(ran.error().location.as_deref(), Some("build.lua:4"), "{:?}", ran.error());
    let source = "local rimg = require 'rimg'\nlocal image = rimg.qemu({}):finish {}\nimage:boot(function(test)\n  error 'broken'\nend)\n";
    let ran = script(&source.replace("qemu({})", "qemu({ source_image = 'x' })"))
        .file("x", "")
        .with(|o| o.mode = Mode::Check)
        .run();
    assert_eq!(ran.error().location.as_deref(), Some("build.lua:4"), "{:?}", ran.error());
}
