--- The kernel: its parameters, modules that are not to be loaded, USB storage, and core dumps.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule, call = control.rule, control.call

local M = {}

-- Parameters, what for, and their ids. `wide`: what a baseline leaves alone.
local NETWORK = {
  { "net.ipv4.conf.all.send_redirects", 0, "No redirects are sent", "CIS 3.3.2, dev-sec sysctl-16" },
  { "net.ipv4.conf.default.send_redirects", 0, "No redirects are sent", "CIS 3.3.2, dev-sec sysctl-16" },
  { "net.ipv4.icmp_ignore_bogus_error_responses", 1, "Bogus ICMP answers are ignored", "CIS 3.3.3, dev-sec sysctl-03" },
  { "net.ipv4.icmp_echo_ignore_broadcasts", 1, "Pings to all are not answered", "CIS 3.3.4, dev-sec sysctl-04" },
  { "net.ipv4.conf.all.accept_redirects", 0, "Redirects are not accepted", "CIS 3.3.5, dev-sec sysctl-14" },
  { "net.ipv4.conf.default.accept_redirects", 0, "Redirects are not accepted", "CIS 3.3.5, dev-sec sysctl-14" },
  { "net.ipv6.conf.all.accept_redirects", 0, "Redirects are not accepted", "CIS 3.3.5, dev-sec sysctl-20" },
  { "net.ipv6.conf.default.accept_redirects", 0, "Redirects are not accepted", "CIS 3.3.5, dev-sec sysctl-20" },
  { "net.ipv4.conf.all.secure_redirects", 0, "Not from gateways either", "CIS 3.3.6, dev-sec sysctl-15" },
  { "net.ipv4.conf.default.secure_redirects", 0, "Not from gateways either", "CIS 3.3.6, dev-sec sysctl-15" },
  { "net.ipv4.conf.all.rp_filter", 1, "Forged sources are dropped", "CIS 3.3.7, dev-sec sysctl-02" },
  { "net.ipv4.conf.default.rp_filter", 1, "Forged sources are dropped", "CIS 3.3.7, dev-sec sysctl-02" },
  { "net.ipv4.conf.all.accept_source_route", 0, "Senders choose no routes", "CIS 3.3.8, dev-sec sysctl-13" },
  { "net.ipv4.conf.default.accept_source_route", 0, "Senders choose no routes", "CIS 3.3.8, dev-sec sysctl-13" },
  { "net.ipv6.conf.all.accept_source_route", 0, "Senders choose no routes", "CIS 3.3.8, dev-sec sysctl-13" },
  { "net.ipv6.conf.default.accept_source_route", 0, "Senders choose no routes", "CIS 3.3.8, dev-sec sysctl-13" },
  { "net.ipv4.conf.all.log_martians", 1, "Impossible packets are logged", "CIS 3.3.9, dev-sec sysctl-17" },
  { "net.ipv4.conf.default.log_martians", 1, "Impossible packets are logged", "CIS 3.3.9, dev-sec sysctl-17" },
  { "net.ipv4.tcp_syncookies", 1, "A flood of connections is survived", "CIS 3.3.10, STIG UBTU-22-253010, dev-sec sysctl-11" },
  { "net.ipv4.tcp_rfc1337", 1, "Old connections are not cut by strangers", "dev-sec sysctl-10" },
}
local ROUTER_ADVERTISEMENTS = {
  { "net.ipv6.conf.all.accept_ra", 0, "Router advertisements are not accepted", "CIS 3.3.11, dev-sec sysctl-25" },
  { "net.ipv6.conf.default.accept_ra", 0, "Router advertisements are not accepted", "CIS 3.3.11, dev-sec sysctl-25" },
}
local FORWARDING = {
  { "net.ipv4.ip_forward", 0, "Packets are not forwarded", "CIS 3.3.1, dev-sec sysctl-01" },
  { "net.ipv6.conf.all.forwarding", 0, "Packets are not forwarded", "CIS 3.3.1, dev-sec sysctl-19" },
}
local KERNEL = {
  { "kernel.randomize_va_space", 2, "Addresses are random", "CIS 1.5.1, STIG UBTU-22-213020, dev-sec sysctl-32" },
  { "kernel.yama.ptrace_scope", 1, "Processes do not look into each other", "CIS 1.5.2, dev-sec sysctl-35" },
  { "fs.suid_dumpable", 0, "No core dumps of privileged programs", "CIS 1.5.3, dev-sec sysctl-31a" },
  { "fs.protected_hardlinks", 1, "Hard links are protected", "dev-sec sysctl-34" },
  { "fs.protected_symlinks", 1, "Symbolic links are protected", "dev-sec sysctl-34" },
  { "fs.protected_fifos", 2, "FIFOs in public folders are protected", "Lynis KRNL-6000" },
  { "fs.protected_regular", 2, "Files in public folders are protected", "Lynis KRNL-6000" },
  { "kernel.dmesg_restrict", 1, "Kernel messages are root's", "STIG UBTU-22-213010" },
  { "kernel.kptr_restrict", 2, "Kernel addresses are nobody's", "Lynis KRNL-6000" },
  { "kernel.sysrq", 0, "No magic SysRq key", "dev-sec sysctl-30" },
  { "kernel.core_uses_pid", 1, "Core dumps are told apart", "Lynis KRNL-6000" },
}
local KERNEL_STRICT = {
  { "kernel.perf_event_paranoid", 3, "Performance events are root's", "Lynis KRNL-6000" },
  { "kernel.unprivileged_bpf_disabled", 1, "BPF is root's", "Lynis KRNL-6000" },
  { "net.core.bpf_jit_harden", 2, "The BPF compiler is hardened", "Lynis KRNL-6000" },
  { "dev.tty.ldisc_autoload", 0, "Line disciplines are not loaded by users", "Lynis KRNL-6000" },
}

M.sysctl = control.control {
  name = "sysctl", title = "Kernel parameters",
  options = {
    forwarding = { "boolean", default = false }, router_advertisements = { "boolean", default = true },
    strict = { "boolean", default = false }, values = { "table", default = {} },
  },
  check = function(o, what)
    for name, value in pairs(o.values) do
      if type(name) ~= "string" or not name:match("^[%w_-]+[%w_.:-]*$") then
        rimg.fail(("%s: option `values`: %q is no kernel parameter"):format(what, tostring(name)), { hint = 'such as ["vm.swappiness"] = 10' })
      elseif value ~= false and type(value) ~= "number" and type(value) ~= "string" then
        rimg.fail(("%s: option `values`: %s: expected a number, a string, or false, which leaves it alone"):format(what, name))
      elseif type(value) == "string" and value:find("[\n\r]") then
        rimg.fail(("%s: option `values`: %s: has a line break in it"):format(what, name))
      end
    end
  end,
  rules = function(o)
    local list, known, rules = {}, {}, {}
    local function add(parameters)
      for _, p in ipairs(parameters) do
        local value = o.values[p[1]]
        known[p[1]] = true
        if value == nil then value = p[2] end
        if value ~= false then list[#list + 1] = { p[1], value, p[3], p[4] } end
      end
    end
    add(NETWORK)
    if not o.router_advertisements then add(ROUTER_ADVERTISEMENTS) end
    if not o.forwarding then add(FORWARDING) end
    add(KERNEL)
    if o.strict then add(KERNEL_STRICT) end
    local own = {}
    for name in pairs(o.values) do if not known[name] and o.values[name] ~= false then own[#own + 1] = name end end
    table.sort(own)
    for _, name in ipairs(own) do list[#list + 1] = { name, o.values[name], "A parameter of your own", "" } end
    local text = { "# Behind all other files, those of packages included." }
    for _, p in ipairs(list) do text[#text + 1] = ("%s = %s"):format(p[1], tostring(p[2])) end
    rules[1] = rule("file", "They are set at boot", "CIS 3.3, Lynis KRNL-6000", call("content", "/etc/sysctl.d/zz-hardening.conf", "644", table.concat(text, "\n")))
    for _, p in ipairs(list) do rules[#rules + 1] = rule(p[1], p[3], p[4], call("sysctl_now", p[1], tostring(p[2]))) end
    return rules
  end,
}

local MODULE_IDS = {
  cramfs = "CIS 1.1.1.1, dev-sec os-10", freevxfs = "CIS 1.1.1.2, dev-sec os-10", hfs = "CIS 1.1.1.3, dev-sec os-10",
  hfsplus = "CIS 1.1.1.4, dev-sec os-10", jffs2 = "CIS 1.1.1.5, dev-sec os-10", squashfs = "CIS 1.1.1.7, dev-sec os-10",
  udf = "CIS 1.1.1.8, dev-sec os-10", dccp = "CIS 3.2.1", tipc = "CIS 3.2.2", rds = "CIS 3.2.3", sctp = "CIS 3.2.4",
}

local function check_modules(o, what)
  for n, name in ipairs(o.modules) do
    if not name:match("^[%w_-]+$") then rimg.fail(("%s: option `modules[%d]`: %q is no module's name"):format(what, n, name)) end
  end
end

M.modules = control.control {
  name = "modules", title = "Kernel modules",
  options = {
    modules = { "strings", default = { "cramfs", "freevxfs", "hfs", "hfsplus", "jffs2", "dccp", "tipc", "rds", "sctp" } },
  },
  check = check_modules,
  rules = function(o)
    local ids, seen = {}, {}
    for _, name in ipairs(o.modules) do
      local id = MODULE_IDS[name]
      if id and not seen[id] then ids[#ids + 1] = id end
      seen[id or ""] = true
    end
    return { rule("unloadable", "Modules that are not needed cannot be loaded", table.concat(ids, ", "),
      call("no_modules", "/etc/modprobe.d/hardening.conf", table.unpack(o.modules))) }
  end,
}

M.usb_storage = control.control {
  name = "usb_storage", title = "USB storage",
  options = { modules = { "strings", default = { "usb-storage", "uas" } } },
  check = check_modules,
  rules = function(o)
    return { rule("unloadable", "USB storage cannot be used", "CIS 1.1.1.9, STIG UBTU-22-291010, Lynis USB-1000",
      call("no_modules", "/etc/modprobe.d/hardening-usb-storage.conf", table.unpack(o.modules))) }
  end,
}

M.core_dumps = control.control {
  name = "core_dumps", title = "Core dumps", options = {},
  rules = function()
    return {
      rule("limits", "No core dumps by limits", "CIS 1.5.3, STIG UBTU-22-213015, Lynis KRNL-5820",
        'if [ -d /etc/security ]; then ' .. call("content", "/etc/security/limits.d/50-hardening-core.conf", "644", "* hard core 0\n* soft core 0")
          .. '; else skip "there is no PAM"; fi'),
      rule("profile", "No core dumps from login shells", "Lynis KRNL-5820",
        call("content", "/etc/profile.d/hardening-core.sh", "644", "ulimit -c 0")),
      rule("systemd", "systemd keeps no core dumps", "CIS 1.5.3, dev-sec sysctl-31b",
        'if [ -d /run/systemd/system ]; then '
          .. call("content", "/etc/systemd/coredump.conf.d/50-hardening.conf", "644", "[Coredump]\nStorage=none\nProcessSizeMax=0")
          .. '; else skip "there is no systemd"; fi'),
    }
  end,
}

return M
