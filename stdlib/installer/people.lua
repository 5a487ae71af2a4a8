--- Who may log in to what is installed: users and root, with passwords hashed.

local rimg    = require "rimg"
local crypt   = require "std.installer.crypt"
local options = require "std.options"

local M = {}

--- Stands for rimg's temporary key, wherever a public key may be.
M.TEMPORARY = "{{ .SSHPublicKey }}"

local LOGIN = {
  password = { "string" }, password_hash = { "string" }, ssh_authorized_keys = { "strings", default = {} },
}
local USER = {
  name = { "string", required = true }, sudo = { "boolean", default = false }, groups = { "strings", default = {} },
  comment = { "string" }, shell = { "path" },
}
for name, kind in pairs(LOGIN) do USER[name] = kind end

-- Checks how one logs in, and sets `hash`. The salt is the same in each run: another one would be another installation.
local function login(what, o, place)
  local function wrong(option, message, hint)
    rimg.fail(("%s: option `%s`: %s"):format(what, option, message), { hint = hint })
  end
  local keys = {}
  for n, key in ipairs(o.ssh_authorized_keys) do
    key = key:gsub("%s+$", "")
    if key ~= M.TEMPORARY and (not key:match("[%w@.-]+ AAAA[%w+/=]+") or key:find("%c")) then
      wrong(("ssh_authorized_keys[%d]"):format(n), "is no public key",
        { "a line as in id_ed25519.pub: rimg.fs.read reads one", ('for rimg\'s temporary key: "%s"'):format(M.TEMPORARY) })
    end
    keys[n] = key
  end
  o.ssh_authorized_keys = keys
  if o.password and o.password_hash then
    wrong("password", "only one of `password` and `password_hash` can be given")
  elseif o.password_hash then
    if not o.password_hash:match("^%$[%w]+%$[%w./$=,-]+$") then
      wrong("password_hash", "is not what /etc/shadow holds", "make one with: openssl passwd -6; for a password as it is there is password")
    end
    o.hash = o.password_hash
  elseif o.password then
    if o.password == "" or o.password:find("%c") then wrong("password", "is empty or has a control character in it") end
    o.hash = crypt.sha512(o.password, rimg.hash.sha256("rimg installer " .. place):sub(1, 16))
  end
  return o
end

--- Checks a list of users, and hashes their passwords. `place` is part of what the salts are made of.
function M.users(what, list, place)
  local users, seen = {}, { root = true }
  for n, given in ipairs(list) do
    local own = ("%s: option `users[%d]`"):format(what, n)
    local user = options.check(own, given, USER)
    if not user.name:match("^[a-z_][a-z0-9_-]*$") or #user.name > 32 then
      rimg.fail(("%s: option `name`: %q is no user name"):format(own, user.name), {
        hint = "lower-case letters, digits, - and _, beginning with a letter; 32 characters at most",
      })
    elseif seen[user.name] then
      rimg.fail(("%s: option `name`: %s"):format(own, user.name == "root" and "root has an option of its own, `root`"
        or user.name .. " is there twice"))
    end
    seen[user.name] = true
    for _, group in ipairs(user.groups) do
      if not group:match("^[%a_][%w_-]*$") then rimg.fail(("%s: option `groups`: %q is no group's name"):format(own, group)) end
    end
    if user.comment and user.comment:find("[:,%c]") then
      rimg.fail(("%s: option `comment`: has a colon, a comma or a control character in it"):format(own))
    end
    if #user.ssh_authorized_keys == 0 and not user.password and not user.password_hash then
      rimg.fail(("%s: %s could not log in: there is neither a password nor a key"):format(own, user.name))
    end
    if user.shell and not user.shell:match("^[%w/._-]+$") then
      rimg.fail(("%s: option `shell`: %q is no program"):format(own, user.shell))
    end
    users[n] = login(own, user, place .. " " .. user.name)
  end
  return users
end

--- Checks how root logs in.
function M.root(what, given, place)
  what = what .. ": option `root`"
  return login(what, options.check(what, given, LOGIN), place .. " root")
end

--- Returns users as cloud-init's `users` has them.
function M.cloud(users, root)
  local list = {}
  local function keys(of) return #of.ssh_authorized_keys > 0 and of.ssh_authorized_keys or nil end
  for n, user in ipairs(users) do
    list[n] = {
      name = user.name, gecos = user.comment, shell = user.shell or "/bin/bash", passwd = user.hash, lock_passwd = not user.hash,
      groups = #user.groups > 0 and user.groups or nil, sudo = user.sudo and "ALL=(ALL:ALL) NOPASSWD: ALL" or nil,
      ssh_authorized_keys = keys(user),
    }
  end
  if root and (root.hash or keys(root)) then
    list[#list + 1] = { name = "root", hashed_passwd = root.hash, lock_passwd = not root.hash, ssh_authorized_keys = keys(root) }
  end
  return list
end

return M
