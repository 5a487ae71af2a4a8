-- The Lua half of the runtime: what must be Lua because it is called from coroutines that await.
--
-- Loaded once, before anything else, with one table of native functions; returns the functions Rust calls.
-- Stock `require`, `coroutine.resume`, `coroutine.wrap` and `dofile` call Lua from C and so cannot be awaited across;
-- these stand in for them.

local native = ...

local pack, unpack, error, type, select = table.pack, table.unpack, error, type, select
local debug_traceback, debug_getmetatable = debug.traceback, debug.getmetatable

-- Errors ------------------------------------------------------------------------------------------------------------

-- Where each error value that is a table or userdata was first raised; strings say it themselves.
local raised_at = setmetatable({}, { __mode = "k" })
local last_string = {}

local function remember(err)
  local traceback
  if type(err) == "string" then
    if last_string.err ~= err then
      last_string.err, last_string.traceback = err, debug_traceback("", 3)
    end
    traceback = last_string.traceback
  elseif err == nil then
    traceback = debug_traceback("", 3)
  else
    traceback = raised_at[err]
    if not traceback then
      traceback = debug_traceback("", 3)
      raised_at[err] = traceback
    end
  end
  return traceback
end

local function on_error(err)
  return { value = err, traceback = remember(err) }
end

-- Calls fn(...) and returns true and its results, or false and { value, traceback }.
local function trampoline(fn, ...)
  return xpcall(fn, on_error, ...)
end

-- Gives the results of a trampoline back, or raises its error again as it was.
local function settle(ok, ...)
  if ok then return ... end
  local captured = ...
  local value = captured.value
  -- The function ran in a coroutine of its own: the way to it is on this one's stack.
  local traceback = captured.traceback .. debug_traceback("", 2)
  if type(value) == "string" then
    last_string.err, last_string.traceback = value, traceback
  elseif value ~= nil then
    raised_at[value] = traceback
  end
  error(value, 0)
end

do
  -- Every error that comes out of Rust shares one metatable: give its values fields.
  local _, sample = pcall(native.sample_error)
  local meta = debug_getmetatable(sample)
  meta.__index = native.error_field
  meta.__tostring = native.error_text
  meta.__name = "rimg.Error"
end

-- Coroutines --------------------------------------------------------------------------------------------------------

local raw_resume, raw_yield, create = coroutine.resume, coroutine.yield, coroutine.create
local PENDING = native.pending

-- A native function that awaits yields PENDING through every coroutine it is in, up to the runtime, which resumes the
-- outermost one when there is something to do; each level then resumes the next.
local function resume_awaiting(co, ...)
  local results = pack(raw_resume(co, ...))
  while results.n == 2 and results[1] and results[2] == PENDING do
    raw_yield(PENDING)
    results = pack(raw_resume(co))
  end
  return unpack(results, 1, results.n)
end

coroutine.resume = resume_awaiting

local function wrap_result(co, ok, ...)
  if ok then return ... end
  local err = ...
  if type(err) ~= "string" and err ~= nil then
    raised_at[err] = raised_at[err] or debug_traceback(co, "")
  end
  coroutine.close(co)
  error(err, 0)
end

function coroutine.wrap(fn)
  local co = create(fn)
  return function(...) return wrap_result(co, resume_awaiting(co, ...)) end
end

-- Modules -----------------------------------------------------------------------------------------------------------

local loaded, loading = package.loaded, {}

function require(name)
  if type(name) ~= "string" then
    error(("bad argument #1 to 'require' (string expected, got %s)"):format(type(name)), 2)
  end
  while loading[name] and loading[name] ~= coroutine.running() do
    native.pause() -- another build is loading it
  end
  local value = loaded[name]
  if value ~= nil then return value end
  if loading[name] then
    error(("the modules require each other in a circle: '%s' is still being loaded"):format(name), 2)
  end
  local chunk, origin = native.find_module(name)
  loading[name] = coroutine.running()
  local results = pack(trampoline(chunk, name, origin))
  loading[name] = nil
  value = settle(unpack(results, 1, results.n))
  if value == nil then
    value = loaded[name]
    if value == nil then value = true end
  end
  loaded[name] = value
  return value, origin
end

function dofile(path)
  if type(path) ~= "string" then error("dofile needs the path of a file", 2) end
  return native.load_file(path)()
end

loadfile = nil
package.searchers, package.searchpath, package.loadlib, package.path, package.cpath = nil, nil, nil, nil, nil

-- Things a script must not do behind rimg's back --------------------------------------------------------------------

print = function(...)
  local texts = pack(...)
  for i = 1, texts.n do texts[i] = tostring(texts[i]) end
  native.print(table.concat(texts, "\t"))
end

os.exit = function()
  error("os.exit would leave machines and temporary files behind: return from the script, or call rimg.fail", 2)
end
os.setlocale = nil

debug = { traceback = debug_traceback }

-- Control flow ------------------------------------------------------------------------------------------------------

local flow = {}

local function expect_function(fn, what, level)
  if type(fn) ~= "function" and not (debug_getmetatable(fn) or {}).__call then
    error(("%s expects a function, got %s"):format(what, type(fn)), level + 1)
  end
end

function flow.step(name, fn, ...)
  expect_function(fn, "rimg.step(name, fn)", 2)
  return settle(native.step(name, trampoline, fn, ...))
end

function flow.timeout(limit, fn, ...)
  expect_function(fn, "rimg.timeout(limit, fn)", 2)
  return settle(native.timeout(limit, trampoline, fn, ...))
end

function flow.parallel(items, fn, options)
  if type(items) ~= "table" then
    error(("rimg.parallel expects a table of items, got %s"):format(type(items)), 2)
  end
  if fn ~= nil then
    expect_function(fn, "rimg.parallel(items, fn)", 2)
  end
  local keys = {}
  for key in pairs(items) do keys[#keys + 1] = key end
  table.sort(keys, native.key_less)
  local results = {}
  local function work(index)
    local key = keys[index]
    local item = items[key]
    if fn then
      results[key] = fn(item, key)
    else
      expect_function(item, "rimg.parallel(functions)", 1)
      results[key] = item(key)
    end
  end
  settle(native.parallel(#keys, options, trampoline, work))
  return results
end

function flow.retry(options, fn, ...)
  if fn == nil and type(options) == "function" then
    options, fn = {}, options
  end
  expect_function(fn, "rimg.retry(options, fn)", 2)
  local predicate
  if type(options) == "table" and type(options.on) == "function" then
    predicate = options.on
    local copy = {}
    for key, value in pairs(options) do copy[key] = value end
    copy.on = nil
    options = copy
  end
  local plan = native.retry_plan(options)
  local attempt = 0
  while true do
    attempt = attempt + 1
    local results = pack(trampoline(fn, ...))
    if results[1] then return unpack(results, 2, results.n) end
    local err = results[2].value
    local again = attempt < plan.attempts and native.may_retry(plan, err)
    if again and predicate then again = predicate(err, attempt) end
    if not again then return settle(unpack(results, 1, results.n)) end
    -- What is not really done again need not be waited for.
    local replayed = type(err) == "userdata" and err.cached == true
    if not replayed then native.retry_wait(plan, attempt, tostring(err)) end
  end
end

-- The same with the options of any operation in front.
local function apply_with(machine, options, provisioner, ...)
  local name, fn = nil, provisioner
  if type(provisioner) == "table" and provisioner.apply then
    name, fn = provisioner.name, provisioner.apply
  end
  expect_function(fn, "vm:apply(options, provisioner)", 3)
  name = name or native.function_name(fn)
  local plan = native.operation_plan(options, name)
  if not plan then return nil end
  local args = pack(...)
  local function once()
    return settle(native.step(name, trampoline, fn, machine, unpack(args, 1, args.n)))
  end
  local function recorded()
    if plan.cache == nil and not plan.max_age then return once() end
    return settle(native.recorded(plan.cache, plan.max_age, trampoline, once))
  end
  local function limited()
    if plan.timeout then return flow.timeout(plan.timeout, recorded) end
    return recorded()
  end
  local function attempts()
    if plan.attempts == 1 then return limited() end
    return flow.retry({ attempts = plan.attempts, backoff = 0.5, max_backoff = 15 }, limited)
  end
  if not plan.continue_on_error then return attempts() end
  local results = pack(trampoline(attempts))
  if results[1] then return unpack(results, 2, results.n) end
  local failure = native.pass_over(name, results[2].value)
  if failure then return failure end
  return settle(unpack(results, 1, results.n))
end

-- A function of a machine, or a table { name = …, apply = function(vm) … end }, under one name.
function flow.apply(machine, provisioner, ...)
  if type(provisioner) == "table" and not provisioner.apply and not (debug_getmetatable(provisioner) or {}).__call then
    return apply_with(machine, provisioner, ...)
  end
  local name, fn = nil, provisioner
  if type(provisioner) == "table" and provisioner.apply then
    name, fn = provisioner.name, provisioner.apply
  end
  expect_function(fn, "vm:apply(provisioner)", 2)
  return settle(native.step(name or native.function_name(fn), trampoline, fn, machine, ...))
end

-- vm:fork: functions by name, each called with a machine of its own that goes on from here; their results by name.
function flow.fork(machine, variants)
  if type(variants) ~= "table" then
    error(("bad argument #1 to 'vm:fork' (table of functions expected, got %s)"):format(type(variants)), 2)
  end
  local names = {}
  for name, fn in pairs(variants) do
    if type(name) ~= "string" then error("vm:fork: every variant needs a name: vm:fork{ name = function(vm) … end }", 2) end
    expect_function(fn, "vm:fork: " .. name, 2)
    names[#names + 1] = name
  end
  table.sort(names)
  native.before_fork(machine, names)
  local results = {}
  flow.parallel(names, function(name)
    results[name] = flow.step(name, variants[name], native.fork_machine(machine, name))
  end)
  return results
end

-- artifact:boot: a throwaway machine under one step, gone whatever its test does.
function flow.boot(artifact, options, test)
  if test == nil then
    options, test = nil, options
  end
  expect_function(test, "artifact:boot(test)", 2)
  flow.step("smoke test", function()
    local machine = native.boot_artifact(artifact, options)
    local results = pack(trampoline(test, machine))
    machine:destroy()
    return settle(unpack(results, 1, results.n))
  end)
  return artifact
end

return { trampoline = trampoline, flow = flow }
