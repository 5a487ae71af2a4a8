--- SUSE's installer, YaST: an AutoYaST profile.
--- https://doc.opensuse.org/projects/autoyast/

local rimg   = require "rimg"
local target = require "std.installer.target"

local M = { ways = { "http", "cd" }, filesystem = "ext4" }

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function escape(text) return (tostring(text):gsub('[&<>"]', ESCAPES)) end

-- An element: `value` is text, a number, true or false, `{ symbol = … }`, `{ list = {…}, of = "name" }` or a list of elements.
local function element(name, value, indent)
  local kind, inner
  if type(value) == "table" and value.list then
    local items = {}
    for n, item in ipairs(value.list) do items[n] = element(value.of, item, indent .. "  ") end
    kind, inner = "list", items
  elseif type(value) == "table" and value.symbol then
    kind, inner = "symbol", escape(value.symbol)
  elseif type(value) == "table" then
    local items = {}
    for n, one in ipairs(value) do items[n] = element(one[1], one[2], indent .. "  ") end
    inner = items
  elseif type(value) == "boolean" then
    kind, inner = "boolean", tostring(value)
  elseif type(value) == "number" then
    kind, inner = "integer", tostring(value)
  else
    inner = escape(value)
  end
  local tag = kind and (' config:type="%s"'):format(kind) or ""
  if type(inner) == "string" then return ("%s<%s%s>%s</%s>"):format(indent, name, tag, inner, name) end
  if #inner == 0 then return ("%s<%s%s/>"):format(indent, name, tag) end
  return ("%s<%s%s>\n%s\n%s</%s>"):format(indent, name, tag, table.concat(inner, "\n"), indent, name)
end

-- Partition and volume alike.
local function volume(one, more)
  local found = {
    { "create", true }, { "format", true }, { "filesystem", { symbol = one.filesystem } }, { "mount", one.mount },
    { "size", one.size and one.size .. "M" or "max" },
  }
  -- The EFI system partition has a number of its own.
  if one.mount == "/boot/efi" then found[#found + 1] = { "partition_id", 259 } end
  for _, pair in ipairs(more or {}) do found[#found + 1] = pair end
  return found
end

local function drives(disk)
  local partitions, list = {}, {}
  if disk.firmware == "bios" then
    partitions[1] = { { "create", true }, { "format", false }, { "partition_id", 263 }, { "size", "8M" } }
  end
  for _, part in ipairs(disk.partitions) do partitions[#partitions + 1] = volume(part) end
  if disk.lvm then
    local pv = { { "create", true }, { "format", false }, { "lvm_group", disk.lvm.group }, { "partition_id", 142 }, { "size", "max" } }
    if disk.passphrase then
      pv[#pv + 1] = { "crypt_method", { symbol = "luks1" } }
      pv[#pv + 1] = { "crypt_key", disk.passphrase }
    end
    partitions[#partitions + 1] = pv
  end
  list[1] = {
    { "device", disk.device }, { "type", { symbol = "CT_DISK" } }, { "disklabel", "gpt" }, { "initialize", true }, { "use", "all" },
    { "enable_snapshots", false }, { "partitions", { list = partitions, of = "partition" } },
  }
  if disk.lvm then
    local volumes = {}
    for n, one in ipairs(disk.lvm.volumes) do volumes[n] = volume(one, { { "lv_name", one.name } }) end
    list[2] = {
      { "device", "/dev/" .. disk.lvm.group }, { "type", { symbol = "CT_LVM" } }, { "enable_snapshots", false },
      { "partitions", { list = volumes, of = "partition" } },
    }
  end
  return list
end

local function users(o)
  local list = {}
  local function add(name, hash, more)
    local user = { { "username", name }, { "encrypted", true }, { "user_password", hash or "*" } }
    for _, pair in ipairs(more) do user[#user + 1] = pair end
    list[#list + 1] = user
  end
  add("root", o.root.hash, {})
  for _, user in ipairs(o.users) do
    add(user.name, user.hash, {
      { "fullname", user.comment or user.name }, { "shell", user.shell or "/bin/bash" }, { "home", "/home/" .. user.name },
    })
  end
  return list
end

local function network(o)
  local own = o.network
  local interface = { { "bootproto", "dhcp" }, { "name", "eth0" }, { "startmode", "auto" } }
  local dns = { { "dhcp_hostname", false }, { "hostname", o.host } }
  if o.domain ~= "" then dns[#dns + 1] = { "domain", o.domain } end
  local section = { { "keep_install_network", own == nil }, { "dns", dns } }
  if own then
    interface = {
      { "bootproto", "static" }, { "name", own.interface }, { "startmode", "auto" }, { "ipaddr", own.ip },
      { "prefixlen", tostring(own.prefix) },
    }
    if #own.dns > 0 then dns[#dns + 1] = { "nameservers", { list = own.dns, of = "nameserver" } } end
    if own.gateway then
      section[#section + 1] = { "routing", { { "routes", { list = { {
        { "destination", "default" }, { "gateway", own.gateway }, { "device", own.interface },
      } }, of = "route" } } } }
    end
  end
  section[#section + 1] = { "interfaces", { list = { interface }, of = "interface" } }
  return section
end

-- A CDATA section ends at the first "]]>".
local function cdata(text) return "<![CDATA[\n" .. text:gsub("%]%]>", "]]]]><![CDATA[>") .. "]]>" end

--- Returns the profile.
function M.profile(o)
  local leap = o.release.distribution == "opensuse-leap"
  local services = { { "default_target", "multi-user" } }
  if o.ssh_server then services[2] = { "services", { { "enable", { list = { "sshd" }, of = "service" } } } } end
  local language = o.locale == "C" and "en_US" or o.locale
  local sections = {
    { "general", { { "mode", { { "confirm", false }, { "final_reboot", true }, { "second_stage", false } } } } },
    { "report", {
      { "warnings", { { "show", false }, { "log", true } } }, { "messages", { { "show", false }, { "log", true } } },
      { "errors", { { "show", true }, { "log", true }, { "timeout", 0 } } },
    } },
    { "suse_register", { { "do_registration", false } } },
    { "keyboard", { { "keymap", o.keyboard.suse } } },
    { "language", { { "language", language }, { "languages", language } } },
    { "timezone", { { "hwclock", "UTC" }, { "timezone", o.timezone } } },
    { "networking", network(o) },
    { "partitioning", { list = drives(o.disk), of = "drive" } },
    { "bootloader", {
      { "loader_type", o.firmware == "efi" and "grub2-efi" or "grub2" }, { "global", { { "timeout", 3 } } },
    } },
    { "software", {
      { "products", { list = { leap and "Leap" or "SLES" }, of = "product" } },
      { "patterns", { list = { leap and "base" or "minimal_base" }, of = "pattern" } },
      { "packages", { list = target.packages(o, "openssh"), of = "package" } },
    } },
    { "services-manager", services },
    { "firewall", { { "enable_firewall", false } } },
    { "users", { list = users(o), of = "user" } },
  }
  if o.mirror then
    sections[#sections + 1] = { "add-on", { { "add_on_products", { list = { {
      { "media_url", o.mirror }, { "product_dir", "/" }, { "name", "mirror" },
    } }, of = "listentry" } } } }
  end
  local lines = {
    '<?xml version="1.0"?>', "<!DOCTYPE profile>",
    '<profile xmlns="http://www.suse.com/1.0/yast2ns" xmlns:config="http://www.suse.com/1.0/configns">',
  }
  for _, section in ipairs(sections) do lines[#lines + 1] = element(section[1], section[2], "  ") end
  lines[#lines + 1] = '  <scripts>\n    <chroot-scripts config:type="list">\n      <script>'
  lines[#lines + 1] = "        <filename>late.sh</filename>\n        <interpreter>shell</interpreter>"
  lines[#lines + 1] = '        <chrooted config:type="boolean">true</chrooted>'
  lines[#lines + 1] = "        <source>" .. cdata(target.script(o, { made = #o.users, root = true })) .. "</source>"
  lines[#lines + 1] = "      </script>\n    </chroot-scripts>\n  </scripts>\n</profile>"
  return table.concat(lines, "\n") .. "\n"
end

--- Returns the file, the kernel's parameters and what is typed.
function M.answers(what, o)
  if not o.keyboard.suse then
    rimg.fail(("%s: option `keyboard`: YaST has no layout for %q"):format(what, o.keyboard.name))
  end
  local text = M.profile(o)
  local parameters = "netsetup=dhcp textmode=1 autoyast=" ..
    (o.via == "cd" and "label://OEMDRV/autoinst.xml" or "http://{{ .HTTPIP }}:{{ .HTTPPort }}/autoinst.xml")
  if o.kernel_parameters ~= "" then parameters = parameters .. " " .. o.kernel_parameters end
  local command
  if o.firmware == "efi" then
    -- GRUB's menu: the second entry installs; the kernel's line is the fourth.
    command = { "<down>e<wait><down><down><down><down><end> " .. parameters .. "<f10>" }
  else
    command = { "<esc><enter><wait>", "linux " .. parameters .. "<enter>" }
  end
  local options = o.via == "cd" and { cd_label = "OEMDRV", cd_content = { ["autoinst.xml"] = text } } or nil
  return { files = { ["autoinst.xml"] = text }, kernel_parameters = parameters, boot_command = command, options = options }
end

return M
