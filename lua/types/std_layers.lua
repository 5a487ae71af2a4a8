---@meta std.layers

--- Images that stand on one another.
---@class std.layers
local layers = {}

---@class std.layers.Layer
---@field [1] string The name of the layer, of its build, and of its image. Required, here or as `name`.
---@field name string?
---@field from string? The layer that it stands on. Default: none; its machine options say what it starts from.
---@field machine (table|fun(): table)? Options of its machine, over those of all. A function is called in the layer's build.
---@field apply (std.Provisioner|function|(std.Provisioner|function)[])? What is done on its machine. Default: nothing.
---@field test (std.Provisioner|function|(std.Provisioner|function)[])? What is looked at on a throwaway copy of the finished image; where it fails, so does the layer, and nothing stands on it. Default: nothing.
---@field finish rimg.FinishOptions? Over those of all.
---@field publish fun(image: rimg.Artifact)? What is done with the image when it has passed. Default: nothing.

---@class std.layers.Options
---@field layers std.layers.Layer[] In any order. Required.
---@field machine table? Options of every machine, such as memory and login. Default: none.
---@field builder (fun(options: table): rimg.Machine)? What makes the machines; the image of the layer below is its `source_image`. Default: `rimg.qemu`.
---@field output string? The folder in which each layer has one of its own. Default: `"out"`.
---@field finish rimg.FinishOptions? For every layer. Default: the folder and the layer's name.

--- Starts a build for each layer and returns them by name. `--only NAME` makes that layer and those below it.
---
--- ```lua
--- local builds = layers.build {
---   machine = { ssh_username = "admin", ssh_password = "secret" },
---   layers = {
---     { "base", machine = { source_image = "image.qcow2" }, apply = function(vm) vm:run "sudo apt-get update" end },
---     { "web", from = "base", apply = require("std.packages").install { "nginx" } },
---   },
--- }
--- local web = builds.web:await()
--- ```
---@param options std.layers.Options
---@return table<string, rimg.Build>
function layers.build(options) end

return layers
