---@meta

---@class rimg
local rimg = {}

---@class rimg.DecodeOptions
---@field drop_nulls boolean? Whether a null is nil, and so not there, in place of `rimg.json.null`. Default: false.

---`rimg.json`. A table whose keys are exactly 1 to n is a list, any other an object with its names in order. An empty
---table is an object, unless it was decoded as a list or is marked by `rimg.json.array`. Integers stay integers.
rimg.json = {}

---What null is in decoded data, so that nothing is lost. It is not false: compare with it, or decode with `drop_nulls`.
---@type lightuserdata
rimg.json.null = nil

---Decodes JSON; an error names line and column.
---@param text string
---@param options? rimg.DecodeOptions
---@return any
function rimg.json.decode(text, options) end

---@class rimg.JsonEncodeOptions
---@field pretty boolean? On several lines, indented by two spaces. Default: false.

---Encodes plain data; an error names the place of what cannot be encoded.
---@param value any
---@param options? rimg.JsonEncodeOptions
---@return string
function rimg.json.encode(value, options) end

---Marks a table as a list, so that it is one when it is empty, and returns it.
---@generic T: table
---@param list? T Default: a new table.
---@return T
function rimg.json.array(list) end

---`rimg.yaml`. Data as for `rimg.json`, null included; names that are not text become text, tags are left out, anchors and
---merge keys (`<<`) are resolved.
rimg.yaml = {}

---Decodes a text of one document; an error names line and column.
---@param text string
---@param options? rimg.DecodeOptions
---@return any
function rimg.yaml.decode(text, options) end

---Decodes a text of several documents to a list.
---@param text string
---@param options? rimg.DecodeOptions
---@return any[]
function rimg.yaml.decode_all(text, options) end

---Encodes plain data.
---@param value any
---@return string
function rimg.yaml.encode(value) end

---`rimg.toml`. Data as for `rimg.json`; dates and times are strings, and there is no null.
rimg.toml = {}

---Decodes TOML; an error names line and column.
---@param text string
---@return table
function rimg.toml.decode(text) end

---Encodes a table of names.
---@param value table
---@return string
function rimg.toml.encode(value) end
