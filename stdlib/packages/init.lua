--- Packages of a machine, by whichever package manager it has: apt, dnf, yum, zypper or apk. Locks are awaited, what the
--- network breaks is repeated, nothing asks a question, and applied again, nothing changes.
---
---     local packages = require "std.packages"
---     vm:apply(packages.install { "nginx", "curl=7.88.*" })

local rimg     = require "rimg"
local guest    = require "std.guest"
local options  = require "std.options"
local managers = require "std.packages.managers"

local M = {}

local quote = guest.quote

-- What all functions may be told.
local PATIENCE = {
  retries = { "integer", default = 3 }, lock_timeout = { "string", "integer", default = "10m" },
  refresh = { "string", "boolean", default = "auto" },
}

local UNITS = { s = 1, m = 60, h = 3600, [""] = 1 }

local function seconds(what, value)
  local number, unit = tostring(value):match("^(%d+)%s*([smh]?)$")
  if not number then
    rimg.fail(("%s: expected a time such as \"10m\", got %q"):format(what, tostring(value)))
  end
  return math.tointeger(tonumber(number)) * UNITS[unit]
end

-- Splits the list of names off, and checks the rest.
local function check(name, given, own)
  local what = "packages." .. name
  if type(given) ~= "table" then given = { given } end
  local names, rest = {}, {}
  for key, value in pairs(given) do
    if type(key) ~= "number" then rest[key] = value end
  end
  for n, value in ipairs(given) do
    if type(value) ~= "string" then
      rimg.fail(("%s: package %d: expected a string, got a %s"):format(what, n, type(value)))
    end
    local package, version = value:match("^([^=]+)=(.+)$")
    package = package or value
    if not package:match("^%w[%w+._:@/-]*$") or (version and not version:match("^[%w.+~:*_-]+$")) then
      rimg.fail(("%s: package %d: %q is no package's name"):format(what, n, value), {
        hint = 'names are such as "nginx" and, with a version, "nginx=1.22.*"',
      })
    end
    names[n] = { name = package, version = version or "" }
  end
  for option, spec in pairs(PATIENCE) do own[option] = spec end
  local o = options.check(what, rest, own)
  if o.refresh ~= "auto" and type(o.refresh) ~= "boolean" then
    o.list_age = seconds(what .. ": option `refresh`", o.refresh)
    o.refresh = "auto"
  end
  o.lock_timeout = seconds(what .. ": option `lock_timeout`", o.lock_timeout)
  o.list_age = math.max(1, (o.list_age or 3600) // 60)
  o.refresh = tostring(o.refresh)
  return o, names
end

local VALUES = { "retries", "lock_timeout", "list_age", "refresh", "recommends", "purge", "full", "hold" }

-- A provisioner of one program with the functions of the machine's package manager.
local function provisioner(label, o, pieces)
  return guest.provisioner(label, function(vm)
    local manager = guest.choose(vm, label, "package_manager", managers.known)
    local program = { guest.assign(VALUES, o), managers.patience, manager, "need_scratch" }
    for _, piece in ipairs(pieces) do program[#program + 1] = piece end
    return guest.run(vm, label, program)
  end)
end

local function labelled(what, names)
  local list = {}
  for n, one in ipairs(names) do list[n] = one.name end
  local text = table.concat(list, " ")
  return ("packages.%s %s"):format(what, #text > 60 and text:sub(1, 60) .. "…" or text)
end

local function needs_names(what, names)
  if #names == 0 then
    rimg.fail(("packages.%s: names no package"):format(what), { hint = ('packages.%s { "nginx" }'):format(what) })
  end
end

local INSTALL = [==[
if [ -n "$missing" ]; then
  set -f
  refreshed=
  if [ "$refresh" = true ] || { [ "$refresh" = auto ] && ! fresh; }; then refresh; refreshed=yes; fi
  # Looked at before anything is changed: a name that does not exist is no half of a list installed.
  if what=$(unknown $specs); then
    # The lists may be older than the package.
    { [ -z "$refreshed" ] && [ "$refresh" = auto ] && refresh && ! what=$(unknown $specs); } ||
      fail "packages cannot be installed: ${what:-the package manager says no more}" \
        "check the names, and that a repository of the machine has them"
  fi
  if would_change; then
    install $specs || fail "$(echo $missing) could not be installed" "what the package manager said is above"
    changed "installed$missing"
  fi
fi
for name in $holds; do is_held "$name" || { hold "$name" && changed "held $name"; }; done]==]

--- Packages that are installed; `name=version` pins a version.
function M.install(given)
  local o, names = check("install", given, {
    recommends = { "boolean", default = false }, hold = { "boolean", default = false },
  })
  needs_names("install", names)
  local pieces = { "missing= specs= holds=",
    'want() { has "$1" "$2" || { missing="$missing $1" specs="$specs $(spec "$1" "$2")"; }; [ -z "$hold" ] || holds="$holds $1"; }' }
  for _, one in ipairs(names) do
    pieces[#pieces + 1] = ("want %s %s"):format(quote(one.name), quote(one.version))
  end
  pieces[#pieces + 1] = INSTALL
  return provisioner(labelled("install", names), o, pieces)
end

--- Packages that are not installed.
function M.remove(given)
  local o, names = check("remove", given, {
    purge = { "boolean", default = false }, unused = { "boolean", default = false },
  })
  needs_names("remove", names)
  local pieces = { "gone=" }
  for _, one in ipairs(names) do
    pieces[#pieces + 1] = ('! has %s "" || gone="$gone "%s'):format(quote(one.name), quote(one.name))
  end
  pieces[#pieces + 1] = [==[
if [ -n "$gone" ]; then
  remove $gone || fail "$(echo $gone) could not be removed" "what the package manager said is above"
  changed "removed$gone"
fi]==]
  if o.unused then pieces[#pieces + 1] = 'tidy || fail "packages that nothing needs could not be removed"' end
  return provisioner(labelled("remove", names), o, pieces)
end

local UPGRADE = [==[
if [ "$refresh" = true ] || { [ "$refresh" = auto ] && ! fresh; }; then refresh; fi
state() { if have dpkg-query; then dpkg-query -W; elif have rpm; then rpm -qa | sort; else apk list -I; fi 2>/dev/null | cksum; }
before=$(state)
upgrade || fail "the packages could not be upgraded" "what the package manager said is above"
[ "$before" = "$(state)" ] || changed "upgraded packages"]==]

--- All packages at the newest version that the repositories have.
function M.upgrade(given)
  local o, names = check("upgrade", given or {}, { full = { "boolean", default = false } })
  if #names > 0 then
    rimg.fail("packages.upgrade: takes no names", { hint = "packages.install installs a version where it is named" })
  end
  return provisioner("packages.upgrade", o, { UPGRADE })
end

-- Where repositories are said to be, and how: for each manager the shell code that sets $file and $content, $key_file, and
-- `check_repository`, which fetches the lists of this one alone.
local REPOSITORY = {
  apt = [==[
file=/etc/apt/sources.list.d/$name.sources key_path=/etc/apt/keyrings/$name.asc
content="Types: deb
URIs: $url
Suites: $suites
${components:+Components: $components
}${architectures:+Architectures: $architectures
}${key:+Signed-By: $key_path
}${trusted:+Trusted: yes
}"
check_repository() {
  patiently apt-get -qq update -o "Dir::Etc::SourceList=$file" -o Dir::Etc::SourceParts=- -o APT::Get::List-Cleanup=0 \
    -o APT::Update::Error-Mode=any -o Acquire::Retries=3
}]==],
  dnf = [==[
file=/etc/yum.repos.d/$name.repo key_path=/etc/pki/rpm-gpg/RPM-GPG-KEY-$name
content="[$name]
name=$name
baseurl=$url
enabled=1
gpgcheck=$([ -n "$trusted" ] && echo 0 || echo 1)
${key:+gpgkey=file://$key_path
}"
check_repository() { work --disablerepo='*' --enablerepo="$name" makecache; }]==],
  zypper = [==[
file=/etc/zypp/repos.d/$name.repo key_path=/etc/pki/rpm-gpg/RPM-GPG-KEY-$name
content="[$name]
name=$name
baseurl=$url
enabled=1
autorefresh=1
gpgcheck=$([ -n "$trusted" ] && echo 0 || echo 1)
${key:+gpgkey=file://$key_path
}"
check_repository() { { [ -z "$key" ] || rpm --import "$key_path"; } && work refresh "$name"; }]==],
}
REPOSITORY.yum = REPOSITORY.dnf

local ADD = [==[
put() {
  mkdir -p -- "$(dirname -- "$1")" && cp "$2" "$1.half" && chmod 644 "$1.half" && mv -f -- "$1.half" "$1" ||
    fail "$1 cannot be written" "the file system may be mounted read-only"
}
same() { [ -e "$1" ] && [ "$(cksum <"$1")" = "$(cksum <"$2")" ]; }
printf '%s' "$content" >"$scratch/file" && printf '%s' "$key" >"$scratch/key" || fail "the disk is full"
if ! same "$file" "$scratch/file" || { [ -n "$key" ] && ! same "$key_path" "$scratch/key"; }; then
  for old in file key_path; do eval "path=\$$old"; [ ! -e "$path" ] || cp -p "$path" "$scratch/old-$old"; done
  [ -z "$key" ] || put "$key_path" "$scratch/key"
  put "$file" "$scratch/file"
  # In a shell of its own: it may give up, and then what was there before is put back.
  (check_repository) || {
    for old in file key_path; do
      eval "path=\$$old"
      if [ -e "$scratch/old-$old" ]; then cp -p "$scratch/old-$old" "$path"; else rm -f -- "$path"; fi
    done
    fail "the repository $name cannot be used; it was not added" "check its url and suites, and that its key is the one it is signed with"
  }
  changed "repository $name"
fi]==]

--- A repository that packages come from, with the key it is signed with.
function M.repository(given)
  local o = options.check("packages.repository", given, {
    name = { "string", required = true }, url = { "string", required = true },
    suites = { "string", "strings" }, components = { "string", "strings" }, architectures = { "string", "strings" },
    key = { "string" }, key_file = { "string" }, trusted = { "boolean", default = false },
    retries = PATIENCE.retries, lock_timeout = PATIENCE.lock_timeout,
  })
  if not o.name:match("^%w[%w._-]*$") then
    rimg.fail(("packages.repository: option `name`: %q: letters, digits, and . _ - alone"):format(o.name))
  end
  if not o.url:match("^%l[%l%d+.-]*:/%g+$") then
    rimg.fail(("packages.repository: option `url`: %q is no address"):format(o.url))
  end
  for _, list in ipairs { "suites", "components", "architectures" } do
    local text = type(o[list]) == "table" and table.concat(o[list], " ") or o[list]
    if text and not text:match("^[%w ./_~+-]*$") then
      rimg.fail(("packages.repository: option `%s`: %q has characters that do not belong there"):format(list, text))
    end
    o[list] = text
  end
  if o.key and o.key_file then
    rimg.fail("packages.repository: only one of `key` and `key_file` can be given")
  elseif o.key_file then
    o.key = rimg.fs.read(o.key_file)
  end
  if not o.key and not o.trusted then
    rimg.fail("packages.repository: option `key`: is required", {
      hint = { "the text of the key that the repository is signed with, or key_file, a file of this host with it",
        "trusted = true takes packages that nobody has signed" },
    })
  end
  if o.key and o.key:find("\0", 1, true) then
    rimg.fail("packages.repository: the key is not in text form", { hint = "make it so with: gpg --enarmor, or get the .asc" })
  end
  o.lock_timeout = seconds("packages.repository: option `lock_timeout`", o.lock_timeout)
  o.list_age, o.refresh = 60, "auto"
  local label = "packages.repository " .. o.name
  return guest.provisioner(label, function(vm)
    local kind, facts = guest.choose(vm, label, "package_manager", REPOSITORY)
    if facts.package_manager == "apt" and not o.suites then
      rimg.fail(label .. ": option `suites`: is required for apt", {
        hint = 'the name of a release, such as "bookworm", or "./" for a repository without any',
      })
    end
    return guest.run(vm, label, {
      guest.assign(VALUES, o), guest.assign({ "name", "url", "suites", "components", "architectures", "key", "trusted" }, o),
      managers.patience, managers.known[facts.package_manager], "need_scratch", kind, ADD,
    })
  end)
end

return M
