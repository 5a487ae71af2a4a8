--- The firewall: nftables, with a table of its own that drops what is not asked for. The port that sshd listens on is always
--- open, and the rules are tried with `nft -c` before they are used.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule = control.rule

local FIREWALL = [==[
have nft || { skip "there is no nft"; return 0; }
ssh_ports=$ssh
[ -n "$ssh_ports" ] || ssh_ports=$(sshd -T 2>/dev/null | sed -n 's/^port //p' | sort -un | tr '\n' ' ')
[ -n "$ssh_ports" ] || ssh_ports=22
list() { printf '%s' "$*" | sed 's/  */, /g; s/, $//'; }
# Lines that are there or not; a closing brace would end what stands in ${…:+…}.
own="    tcp dport { $(list $ssh_ports $tcp) } accept"
[ -z "$udp" ] || own="$own$newline    udp dport { $(list $udp) } accept"
[ -z "$ping" ] || own="$own$newline    icmp type echo-request limit rate 10/second accept$newline    icmpv6 type echo-request limit rate 10/second accept"
[ -z "$rules" ] || own=$own$newline$rules
[ -z "$log" ] || own="$own$newline    limit rate 5/minute log prefix \"nftables dropped: \""
text="#!/usr/sbin/nft -f
# What comes in is dropped unless it is asked for here.
table inet hardening
delete table inet hardening
table inet hardening {
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    iif != lo ip saddr 127.0.0.0/8 counter drop
    iif != lo ip6 saddr ::1 counter drop
    ct state established,related accept
    ct state invalid drop
    icmp type { destination-unreachable, time-exceeded, parameter-problem } accept
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query } accept
    udp dport 546 udp sport 547 accept
$own
  }
  chain forward {
    type filter hook forward priority filter; policy $forward;
  }
  chain output {
    type filter hook output priority filter; policy accept;
  }
}"
fresh=
if [ -f "$file" ] && [ "$(cat "$file")" = "$text" ]; then holds "$file"
elif differs "$file is not there, or another one"; then
  need_scratch
  printf '%s\n' "$text" >"$scratch/nft"
  said=$(nft -c -f "$scratch/nft" 2>&1) || fail "nft does not take these rules: $said" "nothing was changed"
  put_text "$file" 600 "$text"
  done_ "$file"
  fresh=yes
fi
if [ -n "$instead" ] && service_there "$instead"; then service_off "$instead"; fi
service_on "$service"
if [ -n "$fresh" ] || ! nft list table inet hardening >/dev/null 2>&1; then
  if [ -n "$fresh" ] || differs "the rules are not in use"; then
    nft -f "$file" || fail "the rules cannot be used"
    [ -n "$fresh" ] || done_ "the rules are in use"
  fi
else holds "the rules are in use"; fi]==]

return control.control {
  name = "firewall", title = "Firewall",
  options = {
    tcp = { "list", default = {} }, udp = { "list", default = {} }, ssh = { "list", default = {} }, rules = { "strings", default = {} },
    ping = { "boolean", default = true }, log = { "boolean", default = true }, forward = { "boolean", default = false },
  },
  packages = function(_, system) return system.firewall and system.packages.firewall or {} end,
  references = "CIS 4.3.1",
  check = function(o, what)
    for _, option in ipairs { "tcp", "udp", "ssh" } do
      for n, port in ipairs(o[option]) do
        local from, to = tostring(port):match("^(%d+)$"), nil
        if not from then from, to = tostring(port):match("^(%d+)-(%d+)$") end
        local low, high = tonumber(from), tonumber(to or from)
        if not low or low < 1 or high > 65535 or low > high then
          rimg.fail(("%s: option `%s[%d]`: %q is no port"):format(what, option, n, tostring(port)), { hint = 'such as 443, or "8000-8010"' })
        end
        o[option][n] = to and ("%d-%d"):format(low, high) or ("%d"):format(low)
      end
    end
    for n, line in ipairs(o.rules) do
      if line:find("[\n\r]") then rimg.fail(("%s: option `rules[%d]`: has a line break in it"):format(what, n), { hint = "a rule each" }) end
    end
  end,
  rules = function(o, system)
    if not system.firewall then
      return { rule("rules", "What is not asked for is dropped", "CIS 4.3.8", 'skip "this distribution has no service that loads the rules of nftables"') }
    end
    local own = {}
    for n, line in ipairs(o.rules) do own[n] = "    " .. line end
    local code = {
      control.variable("ssh", table.concat(o.ssh, " ")), control.variable("tcp", table.concat(o.tcp, " ")),
      control.variable("udp", table.concat(o.udp, " ")), control.variable("rules", table.concat(own, "\n")),
      control.variable("ping", o.ping and "yes" or ""), control.variable("log", o.log and "yes" or ""),
      control.variable("forward", o.forward and "accept" or "drop"), control.variable("file", system.firewall.file),
      control.variable("service", system.firewall.service), control.variable("instead", system.firewall.instead_of or ""), FIREWALL,
    }
    return { rule("rules", "What is not asked for is dropped",
      "CIS 4.1.1, CIS 4.3.4 to 4.3.10, STIG UBTU-22-251030, Lynis FIRE-4540, Lynis FIRE-4590", table.concat(code, "\n")) }
  end,
}
