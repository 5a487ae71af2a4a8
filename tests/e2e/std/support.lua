-- What the tests of the standard library share: provisioners applied twice, and errors that say what they should.
local rimg = require "rimg"

local M = {}

--- Applies what `make` returns twice: the first must change something, the second nothing.
function M.twice(vm, make)
  local first = vm:apply(make())
  assert(first.changed, make().name .. " has changed nothing")
  local second = vm:apply(make())
  assert(not second.changed, make().name .. " again: " .. table.concat(second.changes, "; "))
  return first
end

--- Fails unless `fn` raises an error in which each of the texts stands, hints included.
function M.fails(fn, ...)
  local ok, err = pcall(fn)
  for _, text in ipairs { ... } do
    assert(not ok, "no error with: " .. text)
    local said = tostring(err)
    if type(err) == "userdata" then said = said .. "\n" .. table.concat(err.hints, "\n") .. "\n" .. (err.stderr or "") end
    assert(said:find(text, 1, true), text .. " is not in: " .. said)
  end
end

--- Returns this host as a machine that is what `facts` says, does everything as this user, and finds the programs in the
--- folder `bin` first.
function M.machine(facts, bin)
  local host = rimg.localhost {}
  local vm = { commands = {} }
  function vm.facts()
    local known = {}
    for name, value in pairs(host:facts()) do known[name] = value end
    known.is_root = true
    for name, value in pairs(facts or {}) do known[name] = value end
    return known
  end
  function vm:run(command, options)
    local own = {}
    for name, value in pairs(options or {}) do own[name] = value end
    own.sudo = false
    if bin then own.env = { PATH = bin .. ":/usr/bin:/bin:/usr/sbin:/sbin" } end
    self.commands[#self.commands + 1] = own.input or command
    return host:run(command, own)
  end
  function vm.upload(_, from, to, options)
    options.sudo = false
    return host:upload(from, to, options)
  end
  function vm:apply(provisioner) return provisioner.apply(self) end
  return vm
end

--- Puts a shell program into a folder.
function M.write_program(folder, name, text)
  rimg.fs.write(rimg.fs.join(folder, name), "#!/bin/sh\n" .. text, { mode = "0755" })
end

return M
