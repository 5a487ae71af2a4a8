--- The boot loader: who may read its configuration, a password for changing what it boots, and the kernel's parameters.

local rimg    = require "rimg"
local control = require "std.harden.control"

local rule = control.rule

local PARAMETERS = [==[
[ -f /etc/default/grub ] && have "${make%% *}" || { skip "GRUB's configuration is not made from /etc/default/grub here"; return 0; }
now=$(sed -n 's/^GRUB_CMDLINE_LINUX="\(.*\)"$/\1/p' /etc/default/grub | tail -n 1) wanted=$now
for parameter in $parameters; do
  kept=
  for one in $wanted; do [ "${one%%=*}" = "${parameter%%=*}" ] || kept="$kept${kept:+ }$one"; done
  among "$parameter" "$wanted" || wanted="$kept${kept:+ }$parameter"
done
if [ "$now" = "$wanted" ]; then holds "$parameters"; return 0; fi
differs "the kernel is booted with \"$now\", not \"$wanted\"" || return 0
old=$(cat /etc/default/grub)
put_text /etc/default/grub 644 "$(grep -v '^GRUB_CMDLINE_LINUX=' /etc/default/grub)${newline}GRUB_CMDLINE_LINUX=\"$wanted\""
$make >"$scratch/said" 2>&1 || {
  put_text /etc/default/grub 644 "$old"
  cat "$scratch/said"
  fail "the boot loader's configuration cannot be made" "/etc/default/grub was put back"
}
done_ "kernel parameters: $parameters (from the next boot on)"]==]

-- A password for changing an entry; booting takes none.
local PASSWORD = [==[
[ -d /etc/grub.d ] && have "${make%% *}" || { skip "GRUB's configuration is not made from /etc/grub.d here"; return 0; }
fresh=
content /etc/grub.d/01_hardening 700 "#!/bin/sh
cat <<'END'
set superusers=\"$user\"
password_pbkdf2 $user $hash
END"
wrote=$fresh
for script in /etc/grub.d/10_linux /etc/grub.d/10_linux_zfs /etc/grub.d/20_linux_xen; do
  [ -f "$script" ] || continue
  if grep -q '^CLASS=.*--unrestricted' "$script"; then holds "$script"; continue; fi
  grep -q '^CLASS="' "$script" || continue
  differs "$script makes entries that ask for a password" || continue
  put_text "$script" 755 "$(sed 's/^CLASS="/CLASS="--unrestricted /' "$script")"
  wrote=yes
  done_ "$script: entries boot without a password"
done
[ -z "$wrote" ] || $make >"$scratch/said" 2>&1 || {
  rm -f /etc/grub.d/01_hardening
  cat "$scratch/said"
  fail "the boot loader's configuration cannot be made" "/etc/grub.d/01_hardening was removed again"
}]==]

return control.control {
  name = "boot_loader", title = "Boot loader",
  options = {
    password_hash = { "string" }, superuser = { "string", default = "root" }, kernel_parameters = { "strings", default = {} },
  },
  check = function(o, what)
    if o.password_hash and not o.password_hash:match("^grub%.pbkdf2%.sha512%.%d+%.%x+%.%x+$") then
      rimg.fail(("%s: option `password_hash`: is no hash of GRUB's"):format(what), { hint = "make one with: grub-mkpasswd-pbkdf2" })
    elseif not o.superuser:match("^[%a_][%w_-]*$") then
      rimg.fail(("%s: option `superuser`: %q is no user's name"):format(what, o.superuser))
    end
    for n, parameter in ipairs(o.kernel_parameters) do
      if not parameter:match("^[%w._,:=/-]+$") then
        rimg.fail(("%s: option `kernel_parameters[%d]`: %q is no kernel parameter"):format(what, n, parameter), { hint = 'such as "audit=1"' })
      end
    end
  end,
  rules = function(o, system)
    local rules = {}
    local make = control.variable("make", system.grub.make) .. "\n"
    if #o.kernel_parameters > 0 then
      rules[#rules + 1] = rule("kernel_parameters", "The kernel is booted with these parameters", "CIS 6.2.1.3, CIS 6.2.1.4, STIG UBTU-22-212015",
        make .. control.variable("parameters", table.concat(o.kernel_parameters, " ")) .. "\n" .. PARAMETERS)
    end
    if o.password_hash then
      rules[#rules + 1] = rule("password", "Changing what is booted takes a password", "CIS 1.4.1, STIG UBTU-22-212010, Lynis BOOT-5122",
        make .. control.variable("user", o.superuser) .. "\n" .. control.variable("hash", o.password_hash) .. "\n" .. PASSWORD)
    end
    rules[#rules + 1] = rule("permissions", "Its configuration is root's alone", "CIS 1.4.2, Lynis FILE-7524", control.permissions {
      { "600", "root", "root", system.grub.config }, { "600", "root", "root", "/boot/grub2/user.cfg" }, { "700", "root", "root", "/etc/grub.d/01_hardening" },
    })
    rules[#rules + 1] = rule("rescue", "The rescue shell asks for root's password", "Lynis BOOT-5260",
      'file=/usr/lib/systemd/system/rescue.service\n[ -f "$file" ] || { skip "there is no systemd"; return 0; }\n'
        .. 'if systemctl cat rescue.service 2>/dev/null | grep -q "^ExecStart=.*sulogin"; then holds "sulogin"\n'
        .. 'elif differs "it does not"; then echo "the rescue shell does not ask for a password: see systemctl cat rescue.service"; fi')
    return rules
  end,
}
