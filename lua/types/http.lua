---@meta

---@class rimg
local rimg = {}

---`rimg.http`: requests to servers, with the system's certificates and the environment's proxies (`https_proxy`,
---`no_proxy`). Redirects are followed. `rimg check` asks nobody and answers 200 with an empty body.
rimg.http = {}

---@class rimg.HttpOptions
---@field headers table<string, string|number|boolean>? Headers of the request: `{ accept = "text/plain" }`.
---@field query table<string, string|number|boolean>? Parameters added to the URL's query.
---@field body string? What is sent, as it is.
---@field json any? What is sent, as JSON, with the content type for it.
---@field form table<string, string|number|boolean>? What is sent, as a form's fields.
---@field username string? The user of basic authentication.
---@field password string? Its password; masked in every output.
---@field bearer string? The token of bearer authentication; masked in every output.
---@field timeout rimg.Duration? How long one attempt may take: `"30s"`. Default: 5 minutes; with `to`, only a silence of 60 seconds ends it.
---@field retries integer? How often it is tried again when there is no answer, or one of 408, 429 and 5xx. Waits 0.5 s, then twice as long each time, or what the server's Retry-After says; a minute at most. Default: 0.
---@field check boolean? Whether a status other than 2xx raises an error of kind `network` with `status` and `body`. Default: true.
---@field to string? The file the body is saved to, relative to the script's folder; appears whole, over one that is there. Default: the body is returned, at most 256 MiB.

---@class rimg.HttpResponse
---@field status integer The answer's status, 200.
---@field ok boolean Whether the status is 2xx.
---@field url string Where the answer came from, after redirects, without user and password.
---@field headers table<string, string> By lower-case name; read in any case. Several of one name are joined by `, `.
---@field body string Empty with `to`.
---@field path string? The file that was saved, as `to` says it.
local Response = {}

---Decodes the body; an error says that it is not JSON. A null is `rimg.json.null`, unless `drop_nulls` is set.
---@param options? rimg.DecodeOptions
---@return any
function Response:json(options) end

---Asks for a URL.
---
---```lua
---local latest = rimg.http.get("https://example.org/latest.json", { retries = 3 }):json()
---```
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.get(url, options) end

---Asks for the headers alone.
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.head(url, options) end

---Sends a POST request.
---
---```lua
---rimg.http.post("https://example.org/images", { json = { name = "web" }, bearer = rimg.secret("token", { optional = true }) })
---```
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.post(url, options) end

---Sends a PUT request.
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.put(url, options) end

---Sends a PATCH request.
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.patch(url, options) end

---Sends a DELETE request.
---@async
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.delete(url, options) end

---Sends a request of any method.
---@async
---@param method string `"GET"`, `"PURGE"`, …
---@param url string
---@param options? rimg.HttpOptions
---@return rimg.HttpResponse
function rimg.http.request(method, url, options) end
