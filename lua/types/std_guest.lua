---@meta std.guest

--- What modules that work on a machine are made of: provisioners of one shell program that says what it changed.
---@class std.guest
local guest = {}

--- What the standard library's functions return: for `vm:apply`, and for `artifact:boot` in the place of a function.
---@class std.Provisioner
---@field name string What it is called in output and report.
---@field apply fun(vm: rimg.Machine): std.Result
---@overload fun(vm: rimg.Machine): std.Result

--- What applying one returns.
---@class std.Result
---@field changed boolean Whether anything is other than it was.
---@field changes string[] What, in words.
---@field values table<string, string> What the program gave back by `value NAME TEXT`.

---@class std.guest.RunOptions
---@field sudo boolean? Whether it runs as root. Default: true.
---@field quiet boolean? Whether its output is not shown. Default: false.
---@field cache boolean? As for any operation. Default: true.

--- Quotes a text for the shell.
---@param text any
---@return string
function guest.quote(text) end

--- Quotes each text of a list, with spaces between.
---@param list any[]
---@return string
function guest.words(list) end

--- Returns shell assignments of the named values: nil and false are empty, true is `yes`.
---@param names string[]
---@param values table<string, any>
---@return string
function guest.assign(names, values) end

--- Makes a provisioner.
---@param name string
---@param apply fun(vm: rimg.Machine): any
---@return std.Provisioner
function guest.provisioner(name, apply) end

--- Runs a POSIX shell program on the machine. In it there are `changed TEXT`, `value NAME TEXT`, `fail MESSAGE HINT…`,
--- `have PROGRAM` and `need_scratch` (a private folder, `$scratch`).
---@async
---@param vm rimg.Machine
---@param label string What it is called, in output and errors.
---@param pieces string[] Shell code.
---@param options std.guest.RunOptions?
---@return std.Result
function guest.run(vm, label, pieces, options) end

--- Returns the entry of `choices` for what the machine is, and its facts; where there is none, the error says which there are.
---@async
---@generic T
---@param vm rimg.Machine
---@param label string
---@param fact string The name of a fact: `package_manager`, `init`, `os_family`, …
---@param choices table<string, T>
---@return T
---@return rimg.Facts
function guest.choose(vm, label, fact, choices) end

return guest
