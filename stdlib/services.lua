--- Services of a machine: enabled, running, restarted, and units of one's own; systemd and OpenRC.
---
---     local services = require "std.services"
---     vm:apply(services.service { "nginx", enabled = true, running = true })

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"

local M = {}

local INIT = {
  systemd = [==[
exists() { systemctl cat -- "$1" >/dev/null 2>&1 || [ -n "$(systemctl list-unit-files --no-legend "$1.service" 2>/dev/null)" ]; }
is_running() { systemctl is-active --quiet -- "$1"; }
is_enabled() { systemctl is-enabled --quiet -- "$1" 2>/dev/null; }
is_masked() { [ "$(systemctl is-enabled -- "$1" 2>/dev/null)" = masked ]; }
act() { systemctl --quiet --no-ask-password "$@"; }
why() { systemctl --no-pager --lines=0 status -- "$1" || :; journalctl --no-pager --quiet --lines=15 --unit "$1" 2>/dev/null || :; }
# One that is of no use a moment later was not started.
settled() {
  for look in 1 2 3; do
    is_running "$1" || return 1
    [ "$look" = 3 ] || sleep 0.5
  done
}
]==],
  openrc = [==[
exists() { [ -x "/etc/init.d/$1" ]; }
is_running() { rc-service --quiet -- "$1" status >/dev/null 2>&1; }
is_enabled() { rc-update show 2>/dev/null | grep -q "^ *$1 |"; }
is_masked() { return 1; }
act() {
  case $1 in
    enable) rc-update --quiet add "$3" default;;
    disable) rc-update --quiet --all delete "$3";;
    mask|unmask) fail "OpenRC cannot mask services" "with enabled = false it does not start";;
    *) rc-service --quiet -- "$3" "$1";;
  esac
}
why() { rc-service -- "$1" status || :; }
settled() { sleep 1; is_running "$1"; }
]==],
}

local SERVICE = [==[
exists "$name" || fail "there is no service $name on the machine" "its package may not be installed, or its unit have another name"
if [ "$masked" = no ] && is_masked "$name"; then
  act unmask -- "$name" || fail "$name could not be unmasked"
  changed "unmasked $name"
fi
if [ "$enabled" = yes ] && ! is_enabled "$name"; then
  ! is_masked "$name" || fail "$name is masked" "unmask it: masked = false"
  act enable -- "$name" || fail "$name could not be enabled"
  changed "enabled $name"
elif [ "$enabled" = no ] && is_enabled "$name"; then
  act disable -- "$name" || fail "$name could not be disabled"
  changed "disabled $name"
fi
start() {
  act "$1" -- "$name" && settled "$name" || {
    why "$name"
    fail "the service $name does not run" "what it said is above"
  }
  changed "$2 $name"
}
if [ "$running" = yes ] && ! is_running "$name"; then start start started
elif [ "$running" = no ] && is_running "$name"; then
  act stop -- "$name" || fail "$name could not be stopped"
  changed "stopped $name"
elif [ "$restart" = yes ]; then start restart restarted
elif [ "$reload" = yes ] && is_running "$name"; then
  act reload -- "$name" || { why "$name"; fail "$name could not be reloaded" "not every service can: restart = true"; }
  changed "reloaded $name"
fi
if [ "$masked" = yes ] && ! is_masked "$name"; then
  act mask -- "$name" || fail "$name could not be masked" "a unit in /etc/systemd/system cannot be"
  changed "masked $name"
fi]==]

local function check_name(what, name)
  if not name:match("^[%w@_][%w@_.:\\-]*$") then
    rimg.fail(("%s: %q is no service's name"):format(what, name))
  end
end

-- A third state for what is left alone.
local function yes_or_no(value)
  if value == nil then return "" end
  return value and "yes" or "no"
end

--- A service as it should be: enabled, running, masked, or not.
function M.service(given)
  if type(given) == "string" then given = { given } end
  local rest = {}
  for key, value in pairs(type(given) == "table" and given or {}) do rest[key] = value end
  if rest[1] and not rest.name then rest.name, rest[1] = rest[1], nil end
  local o = options.check("services.service", type(given) == "table" and rest or given, {
    name = { "string", required = true }, enabled = { "boolean" }, running = { "boolean" }, masked = { "boolean" },
    restart = { "boolean", default = false }, reload = { "boolean", default = false },
  })
  check_name("services.service", o.name)
  if o.enabled == nil and o.running == nil and o.masked == nil and not o.restart and not o.reload then
    rimg.fail("services.service: says nothing about the service", {
      hint = "give enabled, running or masked, or restart or reload",
    })
  end
  if o.masked and (o.enabled or o.running) then
    rimg.fail("services.service: a service that is masked can be neither enabled nor running")
  elseif o.running == false and (o.restart or o.reload) then
    rimg.fail("services.service: running = false, and restart or reload, cannot both be")
  end
  local label = "services.service " .. o.name
  local values = { name = o.name, restart = yes_or_no(o.restart), reload = yes_or_no(o.reload) }
  for _, option in ipairs { "enabled", "running", "masked" } do values[option] = yes_or_no(o[option]) end
  return guest.provisioner(label, function(vm)
    local init = guest.choose(vm, label, "init", INIT)
    return guest.run(vm, label, {
      guest.assign({ "name", "enabled", "running", "masked", "restart", "reload" }, values), init, SERVICE,
    })
  end)
end

local UNIT = [==[
path=/etc/systemd/system/$name
need_scratch
if [ "$state" = absent ]; then
  if [ -e "$path" ]; then
    act disable --now -- "$name" 2>/dev/null || :
    rm -f -- "$path" || fail "$path cannot be removed"
    act daemon-reload
    changed "removed $path"
  fi
  return
fi
printf '%s' "$content" >"$scratch/$name" || fail "the disk is full"
if [ ! -e "$path" ] || [ "$(cksum <"$scratch/$name")" != "$(cksum <"$path")" ]; then
  # It complains of what it does not know, too, and then succeeds.
  systemd-analyze verify "$scratch/$name" >"$scratch/said" 2>&1 || {
    cat "$scratch/said"
    fail "the unit $name is not valid: $(grep -v 'Command .* is not executable' "$scratch/said" | tail -n 1)" "what systemd says of it is above"
  }
  cat "$scratch/$name" >"$path.half" && chmod 644 "$path.half" && mv -f -- "$path.half" "$path" ||
    fail "$path cannot be written" "the file system may be mounted read-only"
  act daemon-reload
  changed "$path"
fi]==]

--- A unit of systemd.
function M.unit(given)
  local o = options.check("services.unit", given, {
    name = { "string", required = true }, content = { "string" },
    state = { "string", one_of = { "present", "absent" }, default = "present" },
  })
  check_name("services.unit", o.name)
  if not o.name:match("%.%l+$") then
    rimg.fail(("services.unit: option `name`: %q has no type"):format(o.name), { hint = ("%s.service"):format(o.name) })
  end
  if o.state == "present" and not o.content then
    rimg.fail("services.unit: option `content`: is required", { hint = 'or say state = "absent"' })
  end
  local label = "services.unit " .. o.name
  return guest.provisioner(label, function(vm)
    local init = guest.choose(vm, label, "init", { systemd = INIT.systemd })
    return guest.run(vm, label, { guest.assign({ "name", "content", "state" }, o), init, UNIT })
  end)
end

return M
