-- std.test on this host: every kind of expectation, those that hold and those that do not.
local rimg    = require "rimg"
local test    = require "std.test"
local support = require "support"

local vm = support.machine()
local T = rimg.fs.tempdir "test"
rimg.fs.write(T .. "/conf", "port = 80\nname = 'x'\n[a] #b\n")
rimg.fs.chmod(T .. "/conf", "0640")
rimg.exec({ "ln", "-s", "conf", T .. "/link" })
local url, port = rimg.fs.read "url", rimg.fs.read("url"):match(":(%d+)")

rimg.fs.write("goss.yaml", rimg.yaml.encode {
  file = {
    [T .. "/conf"] = {
      exists = true, mode = "0640", size = 28, filetype = "file", sha256 = rimg.hash.file(T .. "/conf"),
      contents = { "port", "!nothing", "/^port\\s+=\\s\\d+$/", "!/^name$/", "/(?i)NAME/", "/[\\d]{2}/", "[a] #b" },
    },
  },
  gossfile = { ["more.yaml"] = {} },
})
rimg.fs.write("more.yaml", "group:\n  root:\n    exists: true\n    gid: 0\nuser:\n  nonesuch:\n    exists: false\n")

local held = vm:apply(test.expect {
  name = "this <host>", goss = "goss.yaml", junit = "junit.xml", tap = "out.tap",
  package = { "dpkg", ["no-such-package"] = false, dash = { versions = { have_len = 1 } } },
  file = { [T .. "/link"] = { linked_to = "conf", filetype = "symlink" }, ["/nonesuch"] = false },
  user = { root = { uid = 0, home = "/root", groups = { "root" }, shell = { have_prefix = "/" } } },
  group = { "root" },
  port = { ["tcp:" .. port] = { listening = true, ip = { "127.0.0.1" } }, ["udp:1"] = false },
  command = {
    ["echo out; echo err >&2; exit 3"] = { exit_status = 3, stdout = { "out" }, stderr = "/^err$/" },
    slow = { exec = "sleep 30", exit_status = { ["not"] = 0 }, timeout = 1000 },
    ["true"] = 0,
  },
  kernel_param = { ["kernel.ostype"] = "Linux", ["kernel.pid_max"] = { value = { gt = 1000, le = 99999999 } } },
  mount = { ["/proc"] = { exists = true, filesystem = "proc", opts = { "rw" } }, ["/nonesuch"] = false },
  http = { [url .. "/x"] = { status = 200, body = { "payload" }, headers = "/(?i)content-length: 7/" }, [url] = 200 },
  process = { ["sleep-of-nobody"] = false },
  service = { ["no-such-service"] = { running = false, enabled = false, skip = true } },
})
assert(held.ok and held.failed == 0 and held.skipped == 2, rimg.json.encode(held.results))

local bad = {
  file = { [T .. "/conf"] = { mode = "0600", contents = { "absent", "port", "!name" } } },
  user = { root = { uid = 1 } }, command = { ["echo hello"] = { exit_status = 1, stdout = "bye" } },
  package = { "no-such-package" }, kernel_param = { ["no.such"] = "1" },
}
support.fails(function() vm:apply(test.expect(bad)) end,
  "7 of 7 expectations do not hold", "mode: expected 600, found 640", 'contents: expected ["absent","!name"]',
  "uid: expected 1, found 0", "exit-status: expected 1, found 0", "stdout: expected bye, found hello\n",
  "no-such-package: installed: expected true, found false", "no.such: value: expected 1, found nothing")
bad.check, bad.junit, bad.tap = false, "bad.xml", "bad.tap"
local failed = vm:apply(test.expect(bad))
assert(not failed.ok and failed.failed == 7 and failed.count == 7)
assert(rimg.fs.read("bad.xml"):find('tests="7" failures="7"', 1, true))
assert(rimg.fs.read("bad.tap"):find("not ok 1 - ", 1, true))
rimg.exec({ "python3", "-c", [[
import xml.etree.ElementTree as e
good, bad = e.parse("junit.xml").getroot(), e.parse("bad.xml").getroot()
assert good.get("name") == "this <host>" and len(bad.findall("testcase/failure")) == 7, e.tostring(bad)
assert len(good.findall("testcase/skipped")) == 2
lines = open("out.tap").read().splitlines()
assert lines[1] == "1..%d" % (len(lines) - 2) and all(line.startswith("ok ") for line in lines[2:]), lines
]] })

-- What is there only a moment later is waited for, where attempts are allowed.
rimg.exec { "sh", "-c", "(sleep 2; echo x >" .. T .. "/late) >/dev/null 2>&1 &" }
vm:apply(test.expect { file = { [T .. "/late"] = true }, attempts = 60 })

-- Wrong expectations are errors at once.
local function wrong(text, given) support.fails(function() test.expect(given) end, text) end
wrong("did you mean `service`", { servce = { "x" } })
wrong("did you mean `running`", { service = { x = { runing = true } } })
wrong("expected true or false", { service = { x = { running = "yes" } } })
wrong("there are no expectations of `dns`", { dns = { x = true } })
wrong("the matcher", { user = { x = { uid = { greater = 1 } } } })
wrong('"tcp:22"', { port = { "22" } })
wrong("which grep -E does not know", { file = { x = { contents = { "/\\pL/" } } } })
wrong("nonesuch.yaml", { goss = "nonesuch.yaml" })
