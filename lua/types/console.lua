---@meta

--- What is typed into a machine that starts.
---@class rimg.BootOptions
---@field boot_command (string|(fun(values: table<string, string>): string))[]? The keys to type: text, and `<enter>`, `<wait5s>`, `<leftCtrlOn>`, … in Packer's notation.
---@field boot_wait rimg.Duration? How long to wait before the first key.
