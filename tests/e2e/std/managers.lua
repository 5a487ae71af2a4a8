-- std.packages with the package managers of other distributions: programs that stand in for them write down how they are
-- called, and keep a list of what is "installed". What the real ones do with it is not shown here.
local rimg     = require "rimg"
local packages = require "std.packages"
local services = require "std.services"
local support  = require "support"
local vagrant  = require "std.vagrant"

-- What they have in common: `$log`, `$db`, and the lists of names that they know.
local COMMON = [==[
dir=$(dirname "$0"); log=$dir/../log db=$dir/../db; touch "$db"
echo "$(basename "$0") $*" >>"$log"
words() { for w; do case $w in -*) ;; *) echo "$w";; esac; done; }
]==]
local PROGRAMS = {
  dnf = { rpm = [==[
case $1 in -q) shift; [ "$1" = --quiet ] && shift; grep -qx "$2" "$db";; -qa) grep -x "$2" "$db" || :;; esac]==],
    dnf = [==[
case " $* " in
  *" repoquery "*) case "$*" in *nonesuch*) ;; *) echo found;; esac;;
  *" install "*) if [ -e "$dir/../lock" ]; then rm "$dir/../lock"; echo 'Another app is currently holding the yum lock'; exit 1; fi
    shift; words "$@" | grep -v '^install$' >>"$db";;
  *" remove "*) : >"$db";;
esac]==] },
  zypper = { rpm = [==[
case $1 in -q) shift; [ "$1" = --quiet ] && shift; grep -qx "$2" "$db";; -qa) grep -x "$2" "$db" || :;; esac]==],
    zypper = [==[
case " $* " in
  *" --dry-run "*) case "$*" in *nonesuch*) echo "'nonesuch' not found in package names."; exit 104;; esac;;
  *" install "*) words "$@" | grep -v '^install$' >>"$db";;
  *" remove "*) : >"$db";;
esac]==] },
  apk = { apk = [==[
case " $* " in
  " info -e "*) grep -qx "$4" "$db";;
  *" --simulate "*) case "$*" in *nonesuch*) echo 'ERROR: unable to select packages:'; echo '  nonesuch (no such package)'; exit 1;; esac;;
  *" add "*) words "$@" | grep -vx -e add -e 600 >>"$db";;
  *" del "*) : >"$db";;
esac]==] },
}
local FACTS = {
  dnf = { distribution = "rocky", os_family = "redhat", pretty_name = "Rocky Linux 9.3 (Blue Onyx)", package_manager = "dnf" },
  zypper = { distribution = "opensuse-leap", os_family = "suse", pretty_name = "openSUSE Leap 15.6", package_manager = "zypper" },
  apk = { distribution = "alpine", os_family = "alpine", pretty_name = "Alpine Linux v3.20", package_manager = "apk" },
}
local CALLED = {
  dnf = { "dnf -y -q --setopt=retries=3 --setopt=install_weak_deps=False install nginx", "remove nginx", "install virtualbox-guest-additions" },
  zypper = { "zypper --non-interactive --quiet install --auto-agree-with-licenses --oldpackage --no-recommends -- nginx", "remove -- nginx", "-- virtualbox-guest-tools" },
  apk = { "apk --no-interactive --wait 600 --no-progress add -- nginx", "del -- nginx", "add -- virtualbox-guest-additions" },
}

for manager, programs in pairs(PROGRAMS) do
  local folder = rimg.fs.tempdir(manager)
  for name, text in pairs(programs) do support.write_program(folder .. "/bin", name, COMMON .. text .. "\n") end
  local vm = support.machine(FACTS[manager], folder .. "/bin")
  if manager == "dnf" then rimg.fs.write(folder .. "/lock", "") end
  support.twice(vm, function() return packages.install { "nginx" } end)
  support.fails(function() vm:apply(packages.install { "nonesuch" }) end, "nonesuch", "check the names")
  support.twice(vm, function() return packages.remove { "nginx" } end)
  -- A provider's tools are called otherwise in each distribution.
  support.twice(vm, function() return vagrant.guest_tools { provider = "virtualbox" } end)
  local log = rimg.fs.read(folder .. "/log")
  for _, call in ipairs(CALLED[manager]) do assert(log:find(call, 1, true), call .. " is not in\n" .. log) end
end

-- What there is not: the error says what there is.
local arch = support.machine { pretty_name = "Arch Linux", package_manager = "pacman", init = "runit" }
support.fails(function() arch:apply(packages.install { "x" }) end, "Arch Linux is not supported", "apk, apt, dnf, yum, zypper")
support.fails(function() arch:apply(services.service { "x", enabled = true }) end, "runit", "openrc, systemd")
support.fails(function() arch:apply(vagrant.guest_tools { provider = "vmware" }) end, "Arch Linux is not supported", "zypper")
support.fails(function() support.machine({ virtualization = "none" }):apply(vagrant.guest_tools()) end, 'runs on "none"', "libvirt")
-- Wrong options.
support.fails(function() packages.install {} end, "names no package")
support.fails(function() packages.install { "-o=x" } end, "no package's name")
support.fails(function() packages.install { "a b" } end, "no package's name")
support.fails(function() packages.install { "x", lock_timeout = "soon" } end, "10m")
support.fails(function() packages.install { "x", recomends = true } end, "did you mean `recommends`")
support.fails(function() packages.repository { name = "x", url = "https://x" } end, "option `key`: is required")
support.fails(function() services.service { "x" } end, "says nothing")
support.fails(function() services.service { "x", masked = true, running = true } end, "neither")
