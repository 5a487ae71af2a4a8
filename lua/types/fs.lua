---@meta

---@class rimg
local rimg = {}

---`rimg.fs`: files and folders of this host. Relative paths start at the script's folder. `rimg check` reads, but
---changes nothing.
rimg.fs = {}

---Returns what a file holds, byte for byte.
---@async
---@param path string
---@return string
function rimg.fs.read(path) end

---@class rimg.FsWriteOptions
---@field mode string? The file's mode in octal: `"0644"`. Default: the mode of the file it replaces, else 0666 less the umask.

---Writes a file, whole or not at all, over one that is there. Makes its folders. Writes through a symbolic link.
---@async
---@param path string
---@param text string
---@param options? rimg.FsWriteOptions
function rimg.fs.write(path, text, options) end

---Adds to the end of a file; makes it and its folders where they are missing.
---@async
---@param path string
---@param text string
function rimg.fs.append(path, text) end

---Returns whether there is something at the path; a symbolic link to nothing is nothing.
---@param path string
---@return boolean
function rimg.fs.exists(path) end

---@class rimg.FsStat
---@field type "file"|"directory"|"symlink"|"other"
---@field size integer Bytes.
---@field mode string In octal, four digits: `"0644"`.
---@field mtime number When it was last changed, in seconds since 1970.

---Returns what is at the path, without following a symbolic link, or nil.
---@param path string
---@return rimg.FsStat?
function rimg.fs.stat(path) end

---Returns the names of what is in a folder, sorted.
---@param path string
---@return string[]
function rimg.fs.list(path) end

---Returns the paths that match, sorted: `*`, `?`, `[a-z]`, `{a,b}` within a name, `**` for folders of any depth. Hidden
---names match only where the pattern itself has the dot. Paths of a relative pattern are relative to the script's
---folder.
---@async
---@param pattern string
---@return string[]
function rimg.fs.glob(pattern) end

---Makes a folder and those above it; one that is there is fine.
---@param path string
function rimg.fs.mkdir(path) end

---Removes a file, a link, or a folder with all it holds, and returns whether there was one. Refuses whatever is or holds
---the script's folder, the home folder, the working folder, or a folder of rimg's own.
---@async
---@param path string
---@return boolean
function rimg.fs.remove(path) end

---Copies a file over another one, or a folder with all it holds to a new place; `to` is the new name, never the folder
---to copy into. Keeps modes; appears whole.
---@async
---@param from string
---@param to string
function rimg.fs.copy(from, to) end

---Moves a file or a folder; `to` is the new name. Refuses what `rimg.fs.remove` refuses.
---@async
---@param from string
---@param to string
function rimg.fs.move(from, to) end

---Sets the mode of a file or folder.
---@param path string
---@param mode string In octal: `"0755"`.
function rimg.fs.chmod(path, mode) end

---Makes a new folder that only this user can enter, and returns its path. It is removed at the end of the build. Made in
---`rimg check` too.
---@param name? string How its name begins. Default: `temp`.
---@return string
function rimg.fs.tempdir(name) end

---Returns the absolute path without `.` and `..`, without looking at the disk.
---@param path string
---@return string
function rimg.fs.absolute(path) end

---Returns the last part of a path: `c.txt` of `a/b/c.txt`.
---@param path string
---@return string
function rimg.fs.basename(path) end

---Returns a path without its last part: `a/b` of `a/b/c.txt`, `.` of `c.txt`.
---@param path string
---@return string
function rimg.fs.dirname(path) end

---Joins parts of a path; an absolute part begins anew.
---@param ... string
---@return string
function rimg.fs.join(...) end
