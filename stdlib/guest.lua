--- What the modules that work on a machine are made of: a provisioner is a name and one POSIX shell program, which is sent on
--- standard input, says what it changed, and needs nothing on the machine but a shell and the usual small programs.
---
---     local guest = require "std.guest"
---     function M.motd(text)
---       return guest.provisioner("motd", function(vm)
---         return guest.run(vm, "motd", {
---           '[ "$(cat /etc/motd)" = ' .. guest.quote(text) .. ' ] || {',
---           "printf '%s\\n' " .. guest.quote(text) .. " >/etc/motd && changed 'the message of the day'; }",
---         })
---       end)
---     end

local rimg = require "rimg"

local M = {}

--- What every program begins with. What its commands print is shown with standard error; the words it is read by go to
--- the real standard output.
local BEGIN = [==[
set -u
LC_ALL=C PATH=$PATH:/usr/sbin:/sbin:/usr/local/bin; export LC_ALL PATH
umask 022
exec 3>&1 1>&2
any=
# Says that something is other than it was.
changed() { any=yes; printf 'changed: %s\n' "$*" >&3; }
# Gives a value back to Lua.
value() { printf 'value: %s %s\n' "$1" "$2" >&3; }
# Ends the program: what is wrong, then what to do about it.
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  # Few programs say of themselves that this is why; where it is, hints that it may be are none.
  known=
  ! is_read_only / || { known=read-only; printf 'what to do: %s\n' "the machine's root is mounted read-only: mount -o remount,rw /" >&2; }
  for hint; do case $known$hint in read-only*read-only*) ;; *) printf 'what to do: %s\n' "$hint" >&2;; esac; done
  exit 65
}
# Tells whether what is mounted there is mounted read-only.
is_read_only() {
  how=
  while read -r _ at _ options _; do [ "$at" != "$1" ] || how=$options; done </proc/mounts
  case ,$how, in *,ro,*) ;; *) return 1;; esac
}
have() { command -v "$1" >/dev/null 2>&1; }
scratch=
trap '[ -z "$scratch" ] || rm -rf -- "$scratch"' EXIT
# Sets $scratch to a private folder, which is removed at the end.
need_scratch() {
  [ -z "$scratch" ] || return 0
  scratch=$(mktemp -d 2>/dev/null) && return
  fail "there is no place for temporary files on the machine: its disk may be full or mounted read-only"
}
main() {
]==]

local FINISH = [==[

[ -n "$any" ] || printf 'unchanged: %s\n' "$label" >&3
}
main </dev/null
exit
]==]

--- Quotes a text for the shell.
function M.quote(text)
  text = tostring(text)
  if text:find("\0", 1, true) then
    rimg.fail("a text with a zero byte in it cannot be handed to a shell", { hint = "for binary files there is vm:upload" })
  end
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

--- Quotes each text of a list, with spaces between.
function M.words(list)
  local words = {}
  for n, text in ipairs(list) do words[n] = M.quote(text) end
  return table.concat(words, " ")
end

--- Returns shell assignments of a table's values, in the order of the names; nil is empty, true is `yes`.
function M.assign(names, values)
  local lines = {}
  for _, name in ipairs(names) do
    local value = values[name]
    if value == nil or value == false then value = "" elseif value == true then value = "yes" end
    lines[#lines + 1] = name .. "=" .. M.quote(value)
  end
  return table.concat(lines, "\n")
end

--- Makes a provisioner, for `vm:apply` and for `artifact:boot`.
function M.provisioner(name, apply)
  return setmetatable({ name = name, apply = apply }, { __call = function(_, ...) return apply(...) end })
end

--- Runs a program, a list of pieces of shell code, as root unless `options.sudo` is false. Returns what it changed and the
--- values it gave back. A program that fails ends in an error with its last words.
function M.run(vm, label, pieces, options)
  options = options or {}
  local sudo = options.sudo ~= false
  if sudo then
    local facts = vm:facts()
    if not facts.is_root and not facts.has_sudo then
      rimg.fail(("%s: needs root, and the user %s has no sudo"):format(label, facts.user), {
        hint = "install sudo on the machine, or log in as root",
      })
    end
  end
  local result = vm:run({ "sh", "-s", "--", label }, {
    input = "label=" .. M.quote(label) .. "\n" .. BEGIN .. table.concat(pieces, "\n") .. FINISH,
    sudo = sudo, quiet = options.quiet, cache = options.cache,
  })
  local found = { changed = false, changes = {}, values = {} }
  for line in result.stdout:gmatch("[^\n]+") do
    local change = line:match("^changed: (.*)$")
    if change then
      found.changed = true
      found.changes[#found.changes + 1] = change
    end
    local name, value = line:match("^value: (%S+) (.*)$")
    if name then found.values[name] = value end
  end
  return found
end

--- Returns the entry of `choices` for the machine's `facts()[fact]`; where there is none, the error says which there are.
function M.choose(vm, label, fact, choices)
  local facts = vm:facts()
  local choice = choices[facts[fact]]
  if choice ~= nil then return choice, facts end
  local names = {}
  for name in pairs(choices) do names[#names + 1] = name end
  table.sort(names)
  local system = facts.pretty_name ~= "" and facts.pretty_name or facts.system
  local got = facts[fact] ~= "" and facts[fact] or "none that is known"
  rimg.fail(("%s: %s is not supported: its %s is %s"):format(label, system, fact:gsub("_", " "), got), {
    hint = ("it works where the %s is one of: %s"):format(fact:gsub("_", " "), table.concat(names, ", ")),
  })
end

return M
