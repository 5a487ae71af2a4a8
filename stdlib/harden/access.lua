--- Banners, and who may schedule jobs.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule, call = control.rule, control.call

local M = {}

local BANNER = "Authorized use only. This system is private property: access is restricted to authorized users.\n"
  .. "All activity is logged and monitored, and may be used as evidence. Unauthorized access is prohibited."

M.banners = control.control {
  name = "banners", title = "Banners",
  options = { text = { "string", default = BANNER }, motd = { "string", default = "" } },
  check = function(o, what)
    for _, option in ipairs { "text", "motd" } do
      if o[option]:find("\\", 1, true) then
        rimg.fail(("%s: option `%s`: has a backslash in it, which a login prompt would read as a name of something"):format(what, option))
      end
    end
  end,
  rules = function(o)
    return {
      rule("issue", "A warning before a local login", "CIS 1.6.2, STIG UBTU-22-255020, Lynis BANN-7126", call("content", "/etc/issue", "644", o.text)),
      rule("issue_net", "A warning before a login from afar", "CIS 1.6.3, Lynis BANN-7130", call("content", "/etc/issue.net", "644", o.text)),
      rule("motd", "The message of the day tells nothing of the system", "CIS 1.6.1", call("content", "/etc/motd", "644", o.motd)),
      rule("permissions", "They are root's to write", "CIS 1.6.4, CIS 1.6.5, CIS 1.6.6", control.permissions {
        { "644", "root", "root", "/etc/issue" }, { "644", "root", "root", "/etc/issue.net" }, { "644", "root", "root", "/etc/motd" },
      }),
    }
  end,
}

local ALLOW = [==[
have "$program" || [ -d "$there" ] || { skip "there is no $program"; return 0; }
content "$allow" 600 "$users"
[ ! -e "$deny" ] || { differs "$deny is there" && { rm -f -- "$deny" && done_ "removed $deny"; } || :; }]==]

local function allow(name, there, users)
  return table.concat({
    control.variable("program", name), control.variable("there", there), control.variable("allow", "/etc/" .. name:gsub("tab$", "") .. ".allow"),
    control.variable("deny", "/etc/" .. name:gsub("tab$", "") .. ".deny"), control.variable("users", table.concat(users, "\n")), ALLOW,
  }, "\n")
end

M.cron = control.control {
  name = "cron", title = "cron and at",
  options = { users = { "strings", default = { "root" } } },
  check = function(o, what)
    for n, name in ipairs(o.users) do
      if not name:match("^[%a_][%w_.-]*%$?$") then rimg.fail(("%s: option `users[%d]`: %q is no user's name"):format(what, n, name)) end
    end
  end,
  rules = function(o)
    return {
      rule("folders", "Jobs of the system are root's alone", "CIS 2.4.1.2 to 2.4.1.7, dev-sec os-13, Lynis FILE-7524", control.permissions {
        { "600", "root", "root", "/etc/crontab" }, { "700", "root", "root", "/etc/cron.hourly" }, { "700", "root", "root", "/etc/cron.daily" },
        { "700", "root", "root", "/etc/cron.weekly" }, { "700", "root", "root", "/etc/cron.monthly" }, { "700", "root", "root", "/etc/cron.d" },
      }),
      rule("cron", "These users alone have jobs in cron", "CIS 2.4.1.8", allow("crontab", "/etc/cron.d", o.users)),
      rule("at", "These users alone have jobs in at", "CIS 2.4.2.1", allow("at", "/var/spool/cron/atjobs", o.users)),
    }
  end,
}

return M
