--- SHA-512 crypt (`$6$`), as /etc/shadow holds it: in Lua, so that no password goes through another program, and the same
--- on every host. https://www.akkadia.org/drepper/SHA-crypt.txt

local rimg = require "rimg"

local M = {}

local ROUNDS = 5000
local ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
local BYTES = {}
for n = 0, 255 do BYTES[("%02x"):format(n)] = string.char(n) end

local function digest(bytes)
  return (rimg.hash.sha512(bytes):gsub("..", BYTES))
end

-- `bytes` over and over, `length` in all.
local function repeated(bytes, length)
  return bytes:rep(length // #bytes) .. bytes:sub(1, length % #bytes)
end

local function encode(bytes)
  local out = {}
  local function put(high, middle, low, count)
    local word = high << 16 | middle << 8 | low
    for _ = 1, count do
      out[#out + 1] = ALPHABET:sub((word & 63) + 1, (word & 63) + 1)
      word = word >> 6
    end
  end
  local a, b, c = 0, 21, 42
  for _ = 1, 21 do
    put(bytes:byte(a + 1), bytes:byte(b + 1), bytes:byte(c + 1), 4)
    a, b, c = b + 1, c + 1, a + 1
  end
  put(0, 0, bytes:byte(64), 2)
  return table.concat(out)
end

--- Hashes a password with a salt of up to 16 characters of the alphabet.
function M.sha512(password, salt)
  local other = digest(password .. salt .. password)
  local parts = { password, salt, repeated(other, #password) }
  local length = #password
  while length > 0 do
    parts[#parts + 1] = length & 1 == 1 and other or password
    length = length >> 1
  end
  local hash = digest(table.concat(parts))
  local p = repeated(digest(password:rep(#password)), #password)
  local s = repeated(digest(salt:rep(16 + hash:byte(1))), #salt)
  for round = 0, ROUNDS - 1 do
    local odd = round % 2 == 1
    hash = digest((odd and p or hash) .. (round % 3 ~= 0 and s or "") .. (round % 7 ~= 0 and p or "") .. (odd and hash or p))
  end
  return ("$6$%s$%s"):format(salt, encode(hash))
end

return M
