---@meta

--- A duration: a number of seconds, or text such as `"250ms"`, `"30s"`, `"20m"`, `"1h30m"`, `"7d"`.
---@alias rimg.Duration number|string

--- A size: a number of mebibytes, or text such as `"512M"`, `"20G"`. Units are powers of 1024.
---@alias rimg.Size number|string
