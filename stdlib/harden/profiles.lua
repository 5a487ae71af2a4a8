--- The profiles: which controls, with which options. A profile is a table of controls, as `harden.profile` takes one.

local MODULES = { "cramfs", "freevxfs", "hfs", "hfsplus", "jffs2" }
local PROTOCOLS = { "dccp", "tipc", "rds", "sctp" }

local function all(...)
  local list = {}
  for _, part in ipairs { ... } do table.move(part, 1, #part, #list + 1, list) end
  return list
end

local SHM = { "nodev", "nosuid", "noexec" }

local M = {}

--- What suits any server: nothing in it asks for a decision, or takes something away that is in wide use.
M.baseline = {
  ssh = { passwords = true, permit_root_login = "prohibit-password", tcp_forwarding = true, agent_forwarding = true, banner = "" },
  sysctl = {}, modules = { modules = all(MODULES, PROTOCOLS) }, core_dumps = {}, mounts = { points = { ["/dev/shm"] = SHM } },
  permissions = {}, umask = {}, login = { shell_timeout = 0 }, sudo = {}, journald = {}, time_sync = {}, updates = {},
  packages = {}, cron = {}, boot_loader = {},
}

--- CIS Debian Linux 12 Benchmark, the parts of level 1 for servers that can be done without knowing what the machine is for.
M.cis_level1 = {
  ssh = { tcp_forwarding = true, passwords = true }, sysctl = { router_advertisements = false }, modules = { modules = MODULES },
  usb_storage = {}, core_dumps = {}, permissions = { scan = true }, umask = {}, login = { su_group = "sugroup" }, passwords = {}, sudo = {}, journald = {},
  mounts = { points = {
    ["/dev/shm"] = SHM, ["/tmp"] = SHM, ["/var/tmp"] = SHM, ["/home"] = { "nodev", "nosuid" }, ["/var"] = { "nodev", "nosuid" },
    ["/var/log"] = SHM, ["/var/log/audit"] = SHM,
  } },
  time_sync = {}, updates = {}, firewall = {}, packages = {}, aide = {}, banners = {}, cron = {}, boot_loader = {},
}

--- All of it: logins by key alone, audit rules, a firewall, file integrity, and the packages that Lynis looks for.
M.strict = {
  ssh = { max_sessions = 4, max_auth_tries = 3, login_grace_time = 60 }, sysctl = { router_advertisements = false, strict = true },
  modules = { modules = all(MODULES, PROTOCOLS, { "squashfs", "udf", "firewire-core", "firewire-ohci", "firewire-sbp2" }) },
  usb_storage = {}, core_dumps = {},
  mounts = { points = M.cis_level1.mounts.points },
  permissions = { scan = true, compilers = true }, umask = {}, login = { su_group = "sugroup" }, passwords = {}, sudo = {},
  audit_rules = {}, journald = {},
  time_sync = {}, updates = {}, firewall = {}, packages = { tools = true }, aide = {}, banners = {}, cron = {},
  boot_loader = { kernel_parameters = { "audit=1", "audit_backlog_limit=8192" } },
}

return M
