--- What a control is: options, the packages it needs, and rules, each with the ids it has in the benchmarks. A rule is shell
--- code over the functions of std.harden.shell; the same code puts right and audits. However many controls are applied
--- together, it is one installation of packages and one shell program.

local guest    = require "std.guest"
local options  = require "std.options"
local packages = require "std.packages"
local shell    = require "std.harden.shell"
local systems  = require "std.harden.systems"

local M = {}

local quote = guest.quote

--- A rule: what is wanted, in words; its ids; and the shell code, of which `apply` and `audit` may have their own.
function M.rule(id, title, references, code)
  if type(code) == "string" then code = { code } end
  return { id = id, title = title, references = references, code = code[1], apply = code.apply, audit = code.audit }
end

--- Returns a text as shell code that leaves it in a variable.
function M.variable(name, text)
  return ("%s=%s"):format(name, quote(text))
end

--- Returns a call of a shell function with quoted arguments.
function M.call(name, ...)
  return name .. " " .. guest.words { ... }
end

--- Returns a call of `permissions` for a list of { mode, owner, groups, path }.
function M.permissions(list)
  local lines = {}
  for n, one in ipairs(list) do lines[n] = table.concat(one, " ") end
  return M.variable("files", table.concat(lines, "\n")) .. "\npermissions"
end

--- Returns a call of `settings` for pairs in a file.
function M.settings(file, separator, pairs_)
  local lines = {}
  for _, pair in ipairs(pairs_) do
    lines[#lines + 1] = pair[1]
    lines[#lines + 1] = tostring(pair[2])
  end
  return M.variable("pairs", table.concat(lines, "\n")) .. "\n" .. M.call("settings", file, separator)
end

-- The rules of one control on one machine, its packages among them.
local function rules_of(instance, system, facts)
  local control, o = instance.control, instance.options
  local rules = {}
  local install = control.packages and control.packages(o, system, facts) or {}
  if #install > 0 then
    rules[1] = M.rule("packages", "What it takes is installed", control.references, M.call("installed", table.unpack(install)))
  end
  for _, rule in ipairs(control.rules(o, system, facts)) do rules[#rules + 1] = rule end
  return rules, install, control.unwanted and control.unwanted(o, system, facts) or {}
end

-- Collects what is to be done for several controls.
local function gather(vm, label, instances)
  local system, facts = systems.of(vm, label)
  local work = { rules = {}, install = {}, remove = {}, look = {}, code = {}, facts = facts }
  local seen = {}
  for _, instance in ipairs(instances) do
    local rules, install, remove = rules_of(instance, system, facts)
    for _, list in ipairs { { install, work.install }, { remove, work.remove } } do
      for _, name in ipairs(list[1]) do
        if not seen[name] then list[2][#list[2] + 1] = name end
        seen[name] = true
      end
    end
    local look = instance.control.look and instance.control.look(instance.options, system, facts)
    if look then work.look[#work.look + 1] = look end
    for _, rule in ipairs(rules) do
      work.rules[#work.rules + 1] = {
        control = instance.control.name, id = instance.control.name .. "." .. rule.id, title = rule.title,
        references = rule.references or instance.control.references, code = rule,
      }
    end
  end
  return work
end

-- The program of all rules. Each is a function: one that ends early ends alone.
local function program(vm, label, work, audit)
  local services = guest.choose(vm, label, "init", shell.services)
  local pieces = { M.variable("audit", audit and "yes" or ""), shell.rules, services, "need_scratch" }
  for n, rule in ipairs(work.rules) do
    local code = rule.code.code or ""
    local own = audit and rule.code.audit or not audit and rule.code.apply
    if own then code = own end
    pieces[#pieces + 1] = ("rule_%d() {\n:\n%s\n}\nrule=%s; rule_%d"):format(n, code, quote(rule.id), n)
  end
  pieces[#pieces + 1] = "services_settle"
  return pieces
end

--- Applies controls together.
function M.apply(vm, label, instances)
  local work = gather(vm, label, instances)
  local result = { changed = false, changes = {}, values = {} }
  local function add(one)
    result.changed = result.changed or one.changed == true
    for _, change in ipairs(one.changes or {}) do result.changes[#result.changes + 1] = change end
  end
  -- What would lock the user out is an error before anything is changed.
  if #work.look > 0 then
    table.insert(work.look, 1, M.variable("login", work.facts.user))
    table.insert(work.look, "any=yes")
    guest.run(vm, label .. ": look", work.look)
  end
  if #work.remove > 0 then
    work.remove.purge = true
    add(packages.remove(work.remove).apply(vm))
  end
  if #work.install > 0 then add(packages.install(work.install).apply(vm)) end
  add(guest.run(vm, label, program(vm, label, work, false)))
  return result
end

--- Looks at what controls want, and changes nothing. Returns a list of results, one a rule.
function M.audit(vm, label, instances)
  local work = gather(vm, label, instances)
  local pieces = program(vm, label, work, true)
  pieces[#pieces + 1] = "any=yes"
  local values = guest.run(vm, label, pieces, { quiet = true }).values
  local notes = {}
  local n = 1
  while values[tostring(n)] do
    local id, state, text = values[tostring(n)]:match("^(%S+) (%S+) ?(.*)$")
    notes[id] = notes[id] or { holds = {}, differs = {}, skip = {} }
    table.insert(notes[id][state], text)
    n = n + 1
  end
  local results = {}
  for _, rule in ipairs(work.rules) do
    local found = notes[rule.id] or { holds = {}, differs = {}, skip = {} }
    local state = #found.differs > 0 and "differs" or #found.holds > 0 and "holds" or "skipped"
    results[#results + 1] = {
      control = rule.control, rule = rule.id, title = rule.title, references = rule.references or "", state = state,
      found = table.concat(state == "differs" and found.differs or state == "skipped" and found.skip or found.holds, "; "),
    }
  end
  return results, work.facts
end

--- Makes a control: a function that checks its options at once, and returns a provisioner.
function M.control(definition)
  local what = "harden." .. definition.name
  return setmetatable(definition, {
    __call = function(self, given)
      local o = options.check(what, given, self.options)
      if self.check then self.check(o, what) end
      local instance = { control = self, options = o }
      local provisioner = guest.provisioner(what, function(vm) return M.apply(vm, what, { instance }) end)
      provisioner.instances = { instance }
      return provisioner
    end,
  })
end

return M
