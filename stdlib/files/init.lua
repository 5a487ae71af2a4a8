--- Files of a machine as they should be: lines and blocks in them, their whole content, their owner and mode; folders,
--- archives, downloads. Each function returns a provisioner; applied again, it changes nothing.
---
---     local files = require "std.files"
---     vm:apply(files.line { path = "/etc/ssh/sshd_config", match = "^#?PermitRootLogin", line = "PermitRootLogin no" })

local rimg    = require "rimg"
local guest   = require "std.guest"
local options = require "std.options"
local shell   = require "std.files.shell"

local M = {}

local quote = guest.quote

-- What all that make or change a file may be told.
local META = { mode = { "mode" }, owner = { "string" }, group = { "string" }, sudo = { "boolean", default = true } }

local function specification(own)
  for name, spec in pairs(META) do own[name] = own[name] or spec end
  return own
end

local function check(name, given, own)
  local o = options.check("files." .. name, given, specification(own))
  if o.mode then o.mode = o.mode:gsub("^0+(.)", "%1") end
  local owner, group = (o.owner or ""):match("^(.-):(.*)$")
  if owner then
    o.owner, o.group = owner ~= "" and owner or nil, o.group or group
  end
  for _, part in ipairs { "owner", "group" } do
    if o[part] and not o[part]:match("^[%w_][%w_.-]*%$?$") then
      rimg.fail(("files.%s: option `%s`: %q is no name"):format(name, part, o[part]))
    end
  end
  return o
end

-- A provisioner of one program on the path's file; `know_owner` and the values stand before the pieces.
local function provisioner(name, o, values, pieces)
  local label = ("files.%s %s"):format(name, o.path)
  local program = {
    shell.put,
    guest.assign({ "path", "mode", "owner", "group" }, o),
    guest.assign(values, o),
    'know_owner "$owner" "$group"',
  }
  for _, piece in ipairs(pieces) do program[#program + 1] = piece end
  return guest.provisioner(label, function(vm) return guest.run(vm, label, program, { sudo = o.sudo }) end)
end

-- The user's check of a file, with `%s` in the place of its path, as shell code for `$1`.
local function checked(name, o)
  if not o.validate then return end
  if not o.validate:find("%s", 1, true) then
    rimg.fail(("files.%s: option `validate`: %%s, which stands for the file, is missing"):format(name), {
      hint = 'for example validate = "visudo -cf %s"',
    })
  end
  o.validate = o.validate:gsub("%%s", function() return '"$1"' end)
end

local function no_line_break(name, option, text)
  if text and text:find("[\n\r]") then
    rimg.fail(("files.%s: option `%s`: a line has no line break in it"):format(name, option), {
      hint = "for several lines there is files.block, or a list of lines",
    })
  end
end

-- Where new text goes.
local function place(name, o)
  local given = 0
  for _, option in ipairs { "after", "before", "at" } do
    if o[option] then given = given + 1 end
    no_line_break(name, option, o[option])
  end
  if given > 1 then rimg.fail(("files.%s: only one of `after`, `before` and `at` can be given"):format(name)) end
end

local REGEXES = 'for name in match after before; do eval "value=\\${$name-}"; regex "$name" "$value"; done'

--- Lines that are in a file, or not.
function M.line(given)
  local o = check("line", given, {
    path = { "path", required = true }, line = { "string", "strings" }, match = { "string" },
    state = { "string", one_of = { "present", "absent" }, default = "present" },
    after = { "string" }, before = { "string" }, at = { "string", one_of = { "start", "end" } },
    create = { "boolean", default = false }, validate = { "string" },
  })
  local lines = type(o.line) == "string" and { o.line } or o.line or {}
  for _, line in ipairs(lines) do no_line_break("line", "line", line) end
  no_line_break("line", "match", o.match)
  place("line", o)
  checked("line", o)
  if o.state == "present" and #lines == 0 then
    rimg.fail("files.line: option `line`: is required", { hint = 'or say state = "absent"' })
  elseif #lines == 0 and not o.match then
    rimg.fail('files.line: state = "absent" needs `line` or `match`')
  elseif o.match and #lines > 1 then
    rimg.fail("files.line: `match` is for one line, not for a list", { hint = "apply files.line for each of them" })
  end
  local pieces = { shell.edit, shell.line }
  local function add(piece) pieces[#pieces + 1] = piece end
  if o.state == "present" then
    add('edit "$path" "$create"')
    add(REGEXES)
    for _, line in ipairs(lines) do add("line_present " .. quote(line)) end
    add('done_editing "$mode" "$owner" "$group" "$validate"')
  else
    add('if [ -e "$path" ]; then edit "$path" ""')
    add(REGEXES)
    if o.match then add("match_absent") end
    for _, line in ipairs(lines) do add("line_absent " .. quote(line)) end
    add('done_editing "$mode" "$owner" "$group" "$validate"; fi')
  end
  return provisioner("line", o, { "match", "after", "before", "at", "create", "validate" }, pieces)
end

--- A block of lines in a file, between two markers.
function M.block(given)
  local o = check("block", given, {
    path = { "path", required = true }, block = { "string" }, name = { "string", default = "rimg" },
    marker = { "string", default = "# {mark} {name}" },
    state = { "string", one_of = { "present", "absent" }, default = "present" },
    after = { "string" }, before = { "string" }, at = { "string", one_of = { "start", "end" } },
    create = { "boolean", default = false }, validate = { "string" },
  })
  place("block", o)
  checked("block", o)
  no_line_break("block", "marker", o.marker)
  no_line_break("block", "name", o.name)
  if not o.marker:find("{mark}", 1, true) then
    rimg.fail("files.block: option `marker`: {mark}, which becomes BEGIN and END, is missing")
  end
  if o.state == "present" and not o.block then
    rimg.fail("files.block: option `block`: is required", { hint = 'or say state = "absent"' })
  end
  local function marker(word)
    return (o.marker:gsub("{(%l+)}", { mark = word, name = o.name }))
  end
  local from, to = quote(marker "BEGIN"), quote(marker "END")
  local text = o.block or ""
  if text ~= "" and text:sub(-1) ~= "\n" then text = text .. "\n" end
  local pieces = { shell.edit }
  local function add(piece) pieces[#pieces + 1] = piece end
  if o.state == "present" then
    add('edit "$path" "$create"')
    add(REGEXES)
    add(("block_present %s %s %s"):format(from, quote(text), to))
    add('done_editing "$mode" "$owner" "$group" "$validate"')
  else
    add('if [ -e "$path" ]; then edit "$path" ""')
    add(("block_absent %s %s"):format(from, to))
    add('done_editing "$mode" "$owner" "$group" "$validate"; fi')
  end
  table.insert(pieces, 2, shell.block)
  return provisioner("block", o, { "after", "before", "at", "create", "validate" }, pieces)
end

local WRITE = [==[
need_scratch
file=$(real "$path")
[ ! -d "$file" ] || fail "$file is a folder"
if [ ! -e "$file" ] || [ "$(cksum <"$scratch/new")" != "$(cksum <"$file")" ]; then
  validate "$validate" "$scratch/new" "$file"
  put "$scratch/new" "$file" "$mode" "$owner" "$group"
  changed "$file"
fi
meta "$file" "$mode" "$owner" "$group"]==]

local function write(name, o, content)
  checked(name, o)
  return provisioner(name, o, { "validate" }, {
    "need_scratch", ("printf %%s %s >\"$scratch/new\" || fail 'the disk is full'"):format(quote(content)), WRITE,
  })
end

--- A file with a content.
function M.write(given)
  local o = check("write", given, {
    path = { "path", required = true }, content = { "string", required = true }, validate = { "string" },
  })
  return write("write", o, o.content)
end

--- A file whose content is a template of this host.
function M.template(given)
  local o = check("template", given, {
    path = { "path", required = true }, source = { "string", required = true }, vars = { "table", default = {} },
    validate = { "string" },
  })
  return write("template", o, rimg.template(rimg.fs.read(o.source), o.vars))
end

local DIRECTORY = [==[
if [ -e "$path" ] || [ -L "$path" ]; then
  [ -d "$path" ] || fail "$path is there and is no folder"
else
  mkdir -p -- "$path" || fail "the folder $path cannot be made" "its file system may be mounted read-only"
  changed "$path"
fi
meta "$path" "$mode" "$owner" "$group"]==]

--- A folder, with those above it.
function M.directory(given)
  return provisioner("directory", check("directory", given, { path = { "path", required = true } }), {}, { DIRECTORY })
end

local PERMISSIONS = [==[
[ -e "$path" ] || fail "$path does not exist"
meta "$path" "$mode" "$owner" "$group"
# Only what is another one: a tree may be large.
if [ -n "$recursive" ]; then
  wrong() { find "$path" ! -type l "$@" -print 2>/dev/null | head -n 1; }
  if [ -n "$owner" ] && [ -n "$(wrong ! -user "$owner")" ]; then
    find "$path" ! -user "$owner" -exec chown -h -- "$owner" {} + || fail "owners in $path cannot be changed"
    changed "owner of all in $path: $owner"
  fi
  if [ -n "$group" ] && [ -n "$(wrong ! -group "$group")" ]; then
    find "$path" ! -group "$group" -exec chgrp -h -- "$group" {} + || fail "groups in $path cannot be changed"
    changed "group of all in $path: $group"
  fi
  if [ -n "$file_mode" ] && [ -n "$(wrong -type f ! -perm "$file_mode")" ]; then
    find "$path" -type f ! -perm "$file_mode" -exec chmod -- "$file_mode" {} + || fail "modes in $path cannot be changed"
    changed "mode of the files in $path: $file_mode"
  fi
  if [ -n "$directory_mode" ] && [ -n "$(wrong -type d ! -perm "$directory_mode")" ]; then
    find "$path" -type d ! -perm "$directory_mode" -exec chmod -- "$directory_mode" {} + || fail "modes in $path cannot be changed"
    changed "mode of the folders in $path: $directory_mode"
  fi
fi]==]

--- Mode, owner and group of what is there; with `recursive`, of all that is in it.
function M.permissions(given)
  local o = check("permissions", given, {
    path = { "path", required = true }, recursive = { "boolean", default = false },
    file_mode = { "mode" }, directory_mode = { "mode" },
  })
  if not (o.mode or o.owner or o.group or o.file_mode or o.directory_mode) then
    rimg.fail("files.permissions: there is nothing to set: give mode, owner, group, file_mode or directory_mode")
  end
  if o.recursive and o.mode then
    rimg.fail("files.permissions: `mode` would be the same for files and folders", {
      hint = "with recursive = true give file_mode and directory_mode",
    })
  elseif not o.recursive and (o.file_mode or o.directory_mode) then
    rimg.fail("files.permissions: file_mode and directory_mode are for recursive = true")
  end
  return provisioner("permissions", o, { "recursive", "file_mode", "directory_mode" }, { PERMISSIONS })
end

local REMOVE = [==[
if [ -e "$path" ] || [ -L "$path" ]; then
  if [ -d "$path" ] && [ ! -L "$path" ]; then
    [ -n "$recursive" ] || rmdir -- "$path" 2>/dev/null || fail "$path is a folder with something in it" "with recursive = true all of it is removed"
    rm -rf -- "$path"
  else
    rm -f -- "$path"
  fi || fail "$path cannot be removed" "it may be mounted, or its file system read-only"
  changed "$path"
fi]==]

--- Nothing at a path.
function M.remove(given)
  local o = options.check("files.remove", given, {
    path = { "path", required = true }, recursive = { "boolean", default = false }, sudo = META.sudo,
  })
  if o.path:match("^/+[^/]*/*$") and o.recursive then
    rimg.fail(("files.remove: %s is not removed"):format(o.path), { hint = "name something further down" })
  end
  return provisioner("remove", o, { "recursive" }, { REMOVE })
end

local ALGORITHMS = { "sha256", "sha512", "sha1", "md5", "sha224", "sha384" }

-- A checksum as algorithm and digest.
local function checksum(name, text)
  local algorithm, digest = text:match("^(%w+):(%x+)$")
  if not algorithm then
    rimg.fail(("files.%s: option `checksum`: expected \"sha256:HEX\", got %q"):format(name, text))
  end
  options.one_of(("files.%s: option `checksum`: the algorithm"):format(name), algorithm, ALGORITHMS)
  local lengths = { md5 = 32, sha1 = 40, sha224 = 56, sha256 = 64, sha384 = 96, sha512 = 128 }
  if #digest ~= lengths[algorithm] then
    rimg.fail(("files.%s: option `checksum`: a %s has %d digits, this has %d"):format(
      name, algorithm, lengths[algorithm], #digest))
  end
  return algorithm, digest:lower()
end

local IS_THERE = [==[
file=$(real "$path")
[ ! -d "$file" ] || fail "$file is a folder"
there=
if [ -e "$file" ]; then there=$(digest "$algorithm" "$file") || exit; fi
if [ "$there" = "$wanted" ]; then
  meta "$file" "$mode" "$owner" "$group"
else
  GET
fi]==]

local ON_MACHINE = [==[need_scratch
  need_parent "$file"
  fetch "$url" "$scratch/new"
  got=$(digest "$algorithm" "$scratch/new") || exit
  [ "$got" = "$wanted" ] || fail "$url has another checksum: expected $algorithm:$wanted, got $algorithm:$got" "$file was left as it was"
  put "$scratch/new" "$file" "$mode" "$owner" "$group"
  changed "$file"]==]

--- A file from the network, checked; downloaded by rimg's host, or by the machine itself.
function M.download(given)
  local o = check("download", given, {
    url = { "string", required = true }, path = { "path", required = true }, checksum = { "string", required = true },
    via = { "string", one_of = { "host", "machine" }, default = "host" },
  })
  local algorithm, digest = checksum("download", o.checksum)
  o.algorithm, o.wanted = algorithm, digest
  local values = { "algorithm", "wanted", "url" }
  if o.via == "machine" then
    if not o.url:match("^https?://") and not o.url:match("^ftp://") then
      rimg.fail(("files.download: option `url`: %q is not an address of http, https or ftp"):format(o.url))
    end
    return provisioner("download", o, values, { shell.digest, (IS_THERE:gsub("GET", function() return ON_MACHINE end)) })
  end
  local look = provisioner("download", o, values, {
    shell.digest, (IS_THERE:gsub("GET", function() return 'need_parent "$file"; any=yes; value missing "$file"' end)),
  })
  return guest.provisioner(look.name, function(vm)
    local found = look.apply(vm)
    local file = found.values.missing
    if not file then return found end
    local source = rimg.download { url = o.url, checksum = o.checksum }
    vm:upload(source, file, { mode = o.mode or "0644", owner = o.owner, group = o.group, sudo = o.sudo, generated = true })
    return { changed = true, changes = { file }, values = {} }
  end)
end

local FORMATS = { ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".zip" }

local function is_archive(path)
  for _, ending in ipairs(FORMATS) do
    if path:sub(-#ending) == ending then return true end
  end
  return false
end

local UNPACK = [==[
if [ -d "$path" ] && same_tree "$path"; then :; else
  [ ! -e "$path" ] || [ -d "$path" ] || fail "$path is there and is no folder"
  need_parent "$path/."
  # A folder that is there keeps its own mode.
  fresh=; [ -d "$path" ] || { fresh=yes; mkdir -p -- "$path"; } || fail "the folder $path cannot be made"
  before=$(stat -c %a -- "$path")
  cp -a -- "$top/." "$path" || fail "the archive cannot be copied to $path" "the disk may be full"
  [ -n "$fresh" ] || chmod "$before" "$path"
  changed "$path"
fi]==]

local OWN = [==[
own() { [ -z "$(find "$path" ! "$1" "$2" -print 2>/dev/null | head -n 1)" ]; }
if [ -n "$owner" ] && ! own -user "$owner"; then
  chown -R -h -- "$owner" "$path" || fail "owners in $path cannot be changed"
  changed "owner of all in $path: $owner"
fi
if [ -n "$group" ] && ! own -group "$group"; then
  chgrp -R -h -- "$group" "$path" || fail "groups in $path cannot be changed"
  changed "group of all in $path: $group"
fi]==]

--- What is in an archive of this host, in a folder of the machine.
function M.archive(given)
  local o = options.check("files.archive", given, {
    source = { "string", required = true }, path = { "path", required = true }, strip = { "integer", default = 0 },
    creates = { "path" }, owner = META.owner, group = META.group, sudo = META.sudo,
  })
  if not is_archive(o.source) then
    rimg.fail(("files.archive: option `source`: %q is no archive by its name"):format(o.source), {
      hint = "names end in one of: " .. table.concat(FORMATS, ", "),
    })
  end
  if o.strip < 0 then rimg.fail("files.archive: option `strip`: is less than 0") end
  local label = "files.archive " .. o.path
  local name = rimg.fs.basename(o.source)
  local values = guest.assign({ "path", "owner", "group", "creates", "mode" }, o)
  return guest.provisioner(label, function(vm)
    -- The same name each time, so that a replay finds it; mkdir refuses what somebody else has put there.
    local room = "/tmp/.rimg-" .. rimg.hash.sha256(label .. o.source):sub(1, 16)
    local archive = rimg.fs.join(room, name)
    local begun = guest.run(vm, label .. ": look", {
      shell.put, values, "room=" .. quote(room), 'know_owner "$owner" "$group"',
      'if [ -n "$creates" ] && [ -e "$creates" ]; then value there yes; return; fi',
      'rm -rf -- "$room"; mkdir -m 700 -- "$room" || fail "there is no place for the archive in /tmp"',
    }, { sudo = o.sudo, quiet = true })
    if begun.values.there then return begun end
    vm:upload(o.source, archive, { sudo = o.sudo, mode = "0600" })
    return guest.run(vm, label, {
      shell.put, shell.archive, values, "scratch=" .. quote(room),
      ("unpack %s %d"):format(quote(archive), o.strip), UNPACK, OWN,
    }, { sudo = o.sudo })
  end)
end

return M
