//! What any operation may be told: where it is done, when, how long, how often, and what its failure means.

use crate::support::rimg::Sandbox;

const SCRIPT: &str = r#"
local rimg = require "rimg"

local function work()
  local vm = rimg.localhost {}
  local dir = rimg.fs.tempdir()

  -- Only where it belongs.
  assert(vm:run("true", { only = "db" }) == nil)
  assert(vm:run("true", { only = { "we*" } }).ok)
  assert(vm:shell { "exit 9", except = "web" } == nil)
  assert(vm:write(dir .. "/no", "x", { except = { "db", "w?b" } }) == nil and not rimg.fs.exists(dir .. "/no"))

  -- Other values in this build.
  local run = vm:run("echo $WHO", { env = { WHO = "all" }, override = { web = { env = { WHO = "web" } }, db = { only = "x" } } })
  assert(run.stdout == "web\n", run.stdout)

  -- A variable that is taken away, as in rimg.exec.
  assert(vm:run("echo ${HOME-gone}", { env = { HOME = false } }).stdout == "gone\n")
  assert(vm:shell { "echo ${HOME-gone}", env = { HOME = false } }.stdout == "gone\n")
  assert(rimg.exec("echo ${HOME-gone}", { env = { HOME = false } }).stdout == "gone\n")

  -- A failure that is a result.
  local failed = vm:run("echo said; exit 3", { continue_on_error = true })
  assert(failed.ok == false and failed.status == 3 and failed.stdout == "said\n" and failed.kind == "command")
  local lost = vm:upload("no such file", dir .. "/x", { continue_on_error = true })
  assert(lost.ok == false and lost.kind == "io" and lost.message:find "no such file", lost.message)
  assert(not pcall(vm.run, vm, "true", { continue_on_error = true, tiemout = 1 }))

  -- Attempts, each within its limit; what still runs is ended.
  local counted = vm:shell { ("echo x >>%s/n; test $(wc -l <%s/n) -ge 3"):format(dir, dir), max_retries = 2 }
  assert(counted.ok)
  local slow = vm:run("sleep 6017", { timeout = "300ms", max_retries = 1, continue_on_error = true })
  assert(slow.ok == false and slow.kind == "timeout")
  assert(not vm:run("pgrep -f '[s]leep 6017'", { check = false }).ok)
  local ok, err = pcall(vm.read, vm, "/dev/zero", { timeout = "1ms" })
  assert(not ok)

  -- A pause.
  local started = os.time()
  vm:run("true", { pause_before = "2s" })
  assert(os.time() - started >= 1)

  -- What is asked of a machine, and of a console that this one does not have.
  assert(vm:facts({ only = "db" }) == nil and vm:facts({ max_retries = 1 }).system == "linux")
  assert(vm:breakpoint { note = "look", only = "db" } == nil)
  vm:breakpoint { note = "here", timeout = "1m" }
  for _, call in ipairs {
    function(options) return vm:type("x", options) end,
    function(options) return vm:expect("x", options) end,
    function(options) return vm:screenshot(dir .. "/x.png", options) end,
    function(options) return vm:screen_text(options) end,
    function(options) return vm:serial(options) end,
  } do
    assert(call { except = "web" } == nil)
    local none = call { continue_on_error = true, timeout = "5s", override = { web = { max_retries = 1 } } }
    assert(none.ok == false and none.kind == "unsupported", none.kind)
    local ok, err = pcall(call, { tiemout = 1 })
    assert(not ok and err.hint:find "timeout", tostring(err))
  end
  assert(vm:shutdown { only = "db" } == nil)
  assert(vm:shutdown { continue_on_error = true, timeout = "5s" }.kind == "unsupported")
  assert(vm:run("true").ok)

  -- Provisioners.
  local calls = 0
  local function flaky(machine, word)
    calls = calls + 1
    machine:run { "test", tostring(calls), "-ge", "3" }
    return word
  end
  assert(vm:apply({ max_retries = 2 }, flaky, "word") == "word" and calls == 3)
  assert(vm:apply({ only = "db" }, flaky) == nil and calls == 3)
  local failure = vm:apply({ continue_on_error = true, timeout = "300ms" }, { name = "slow", apply = function(machine)
    machine:run "sleep 61"
  end })
  assert(failure.ok == false and failure.kind == "timeout", failure.message)
  assert(vm:apply(flaky, "as before") == "as before")
  local ok, err = pcall(function() vm:apply({ timeuot = 1 }, flaky) end)
  assert(not ok and err.hint:find "timeout", tostring(err))
  ok, err = pcall(function() vm:run("true", { timeuot = 1 }) end)
  assert(not ok and err.hint:find "timeout", tostring(err))
  ok, err = pcall(function() vm:run("true", { only = "[" }) end)
  assert(not ok and err.message:find "option `only`", tostring(err))
end

rimg.build("web", work)
"#;

#[test]
fn any_operation_may_be_told() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(SCRIPT, &[]).expect_code(0);
    for text in ["Skipped: vm:run, which is not for the build web", "going on (continue_on_error)", "trying again in"] {
        assert!(run.stdout.contains(text), "{text:?} is not in\n{}", run.stdout);
    }
    sandbox.rimg(["check", "build.lua"]);
}
