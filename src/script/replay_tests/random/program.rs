//! A script as data, and as Lua. Everything in it comes out the same however often it is done from the same beginning.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::script::replay_tests::world::World;

/// One statement; the number stays with it through all edits.
#[derive(Debug, Clone)]
pub struct Statement {
    pub id: u32,
    pub what: What,
}

pub type Block = Vec<Statement>;

#[derive(Debug, Clone)]
pub enum What {
    /// A command whose result is written down.
    Run {
        command: String,
        env: Option<u32>,
    },
    Shell(Vec<String>),
    Write {
        file: String,
        text: u32,
    },
    Upload {
        host: String,
        to: String,
    },
    /// The same file on this host is written by the script before each of these.
    UploadMade {
        text: u32,
        to: String,
    },
    UploadTree {
        to: String,
    },
    Read(String),
    Download(String),
    /// What comes next depends on what a command printed.
    If {
        command: String,
        pattern: u32,
        then: Block,
        otherwise: Block,
    },
    For {
        times: u32,
        body: Block,
    },
    /// A command that fails after it changed something; the script goes on.
    Caught(String),
    Unchecked(String),
    /// Fails until it was tried so often.
    Retry {
        file: String,
        tries: u32,
    },
    Step(Block),
    Checkpoint,
    /// Branches that touch files of their own.
    Parallel(Vec<Block>),
    Call {
        helper: usize,
        file: String,
    },
    /// A command with a variable's value in it.
    Variable(String),
    Uncached(String),
    Reboot,
    /// Fails, and nothing catches it.
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One machine.
    Single,
    /// Builds with the same beginning.
    Builds,
    /// One machine that becomes several.
    Fork,
}

#[derive(Debug, Clone)]
pub struct Program {
    pub shape: Shape,
    pub common: Block,
    /// What each build or fork goes on with.
    pub branches: Vec<Block>,
    /// Functions of a machine and a file name, `F`.
    pub helpers: Vec<Block>,
    /// Files beside the script: content and mode.
    pub host: BTreeMap<String, (u32, u32)>,
    pub variable: u32,
    pub cpus: u32,
    pub tree: bool,
}

impl Program {
    /// Writes the files that the script uses, all with new times.
    pub fn write_files(&self, world: &World) {
        use std::os::unix::fs::PermissionsExt;
        world.remove("host");
        for (name, (content, mode)) in &self.host {
            world.file(&format!("host/{name}"), &format!("{name} holds {content}\n"));
            let mode = std::fs::Permissions::from_mode(*mode);
            std::fs::set_permissions(world.path(&format!("host/{name}")), mode).unwrap();
        }
    }

    /// Returns every block, and the files that statements in it may touch.
    pub fn visit(&mut self, f: &mut impl FnMut(&mut Block, Place)) {
        let helpers = self.helpers.iter_mut().map(|block| (block, Place::Helper));
        let common = std::iter::once((&mut self.common, Place::Top));
        let branches = self.branches.iter_mut().map(|block| (block, Place::Branch));
        for (block, place) in common.chain(branches).chain(helpers) {
            visit(block, place, f);
        }
    }

    /// Removes a statement.
    pub fn remove(&mut self, id: u32) {
        self.visit(&mut |block, _| block.retain(|statement| statement.id != id));
    }

    pub fn ids(&self) -> Vec<u32> {
        let mut ids = Vec::new();
        self.clone().visit(&mut |block, _| ids.extend(block.iter().map(|statement| statement.id)));
        ids
    }

    /// Returns whether something in it runs each time.
    pub fn never_rests(&self) -> bool {
        let mut found = false;
        self.clone().visit(&mut |block, _| {
            found |= block.iter().any(|statement| matches!(statement.what, What::Uncached(_) | What::Fail));
        });
        found
    }

    pub fn fails(&self) -> bool {
        self.common.iter().any(|statement| matches!(statement.what, What::Fail))
    }

    /// Returns the script.
    pub fn lua(&self) -> String {
        let mut lua = Lua { text: LIBRARY.to_owned(), depth: 0 };
        for (number, helper) in self.helpers.iter().enumerate() {
            lua.line(&format!("local function helper{number}(vm, out, F)"));
            lua.block(helper);
            lua.line("end");
        }
        lua.line("local function common(vm, out)");
        lua.block(&self.common);
        lua.line("end");
        let make = format!("machine {{ cpus = {}, source = \"host/base\" }}", self.cpus);
        let format = if self.tree { ", format = \"tree\"" } else { "" };
        let finish = |name: &str| format!("vm:finish {{ output_directory = \"out/{name}\"{format} }}");
        match self.shape {
            Shape::Single => {
                lua.line("local ok, err = pcall(function()");
                lua.line(&format!("  local vm, out = {make}, list \"main\""));
                lua.line("  common(vm, out)");
                lua.line(&format!("  {}", finish("main")));
                lua.line("end)");
            }
            Shape::Fork => {
                lua.line("local ok, err = pcall(function()");
                lua.line(&format!("  local vm, out = {make}, list \"main\""));
                lua.line("  common(vm, out)");
                lua.line("  vm:fork {");
                for (number, branch) in self.branches.iter().enumerate() {
                    lua.line(&format!("  fork{number} = function(vm) local out = list \"fork{number}\""));
                    lua.block(branch);
                    lua.line(&format!("  {} end,", finish(&format!("fork{number}"))));
                }
                lua.line("  }");
                lua.line("end)");
            }
            Shape::Builds => {
                lua.line("local ok, err = true, nil");
                lua.line("local builds = {}");
                for (number, branch) in self.branches.iter().enumerate() {
                    lua.line(&format!("builds[#builds + 1] = rimg.build(\"build{number}\", function()"));
                    lua.line(&format!("  local vm, out = {make}, list \"build{number}\""));
                    lua.line("  common(vm, out)");
                    lua.block(branch);
                    lua.line(&format!("  {}", finish(&format!("build{number}"))));
                    lua.line("end)");
                }
                lua.line("for _, build in ipairs(builds) do");
                lua.line("  local done, why = pcall(build.await, build)");
                lua.line("  if not done then ok, err = done, why end");
                lua.line("end");
            }
        }
        lua.line("rimg.fs.write(\"results.json\", rimg.json.encode(lists))");
        lua.line("if not ok then error(err, 0) end");
        lua.text
    }
}

/// Where a block is, which says what may be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Top,
    /// Of a build or fork.
    Branch,
    Inside,
    Helper,
    /// A branch of a `rimg.parallel`, with its number.
    Parallel(usize),
}

fn visit(block: &mut Block, place: Place, f: &mut impl FnMut(&mut Block, Place)) {
    f(block, place);
    let inside = if matches!(place, Place::Parallel(_) | Place::Helper) { place } else { Place::Inside };
    for statement in block {
        match &mut statement.what {
            What::If { then, otherwise, .. } => {
                visit(then, inside, f);
                visit(otherwise, inside, f);
            }
            What::For { body, .. } | What::Step(body) => visit(body, inside, f),
            What::Parallel(branches) => {
                for (number, branch) in branches.iter_mut().enumerate() {
                    visit(branch, Place::Parallel(number), f);
                }
            }
            _ => {}
        }
    }
}

const LIBRARY: &str = r#"
local lists, names = {}, {}
local function list(name) local out = {} lists[name], names[out] = out, name return out end
local function branch(of, number) local out = {} names[out] = names[of] .. "-" .. number return out end
local function note(out, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = tostring(values[i]) end
  out[#out + 1] = table.concat(values, "|")
end
local function result(r) return r.status, r.ok, r.stdout, r.stderr end
local I = 0
"#;

struct Lua {
    text: String,
    depth: usize,
}

impl Lua {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{:1$}{line}", "", 2 * self.depth);
    }

    fn block(&mut self, block: &Block) {
        self.depth += 1;
        for statement in block {
            self.statement(statement);
        }
        self.depth -= 1;
    }

    /// Commands and names are Lua expressions: `F` in them is a parameter, `I` the loop's number.
    fn statement(&mut self, statement: &Statement) {
        let id = statement.id;
        match &statement.what {
            What::Run { command, env: None } => {
                self.line(&format!("note(out, result(vm:run({})))", quoted(command)));
            }
            What::Run { command, env: Some(value) } => {
                let options = format!("{{ env = {{ X = \"x{value}\" }} }}");
                self.line(&format!("note(out, result(vm:run({}, {options})))", quoted(command)));
            }
            What::Shell(lines) => {
                let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
                let lines = lines.join(", ");
                self.line(&format!("note(out, result(vm:shell {{ inline = {{ {lines} }}, remote_folder = \".\" }}))"));
            }
            What::Write { file, text } => self.line(&format!("vm:write({}, \"text {text}\\n\")", quoted(file))),
            What::Upload { host, to } => {
                self.line(&format!("note(out, vm:upload(\"host/{host}\", {}))", quoted(to)));
            }
            What::UploadMade { text, to } => {
                // One build's own: others run beside it.
                self.line("do local made = \"got/made-\" .. names[out]");
                self.line(&format!("rimg.fs.write(made, \"made {text}\\n\") vm:upload(made, {}) end", quoted(to)));
            }
            What::UploadTree { to } => self.line(&format!("vm:upload(\"host/tree/\", {})", quoted(to))),
            What::Read(file) => self.line(&format!("note(out, pcall(vm.read, vm, {}))", quoted(file))),
            What::Download(file) => {
                self.line(&format!("vm:run({})", quoted(&format!("echo >>{file}"))));
                self.line(&format!("vm:download({}, \"got/{id}-\" .. names[out])", quoted(file)));
                self.line(&format!("note(out, rimg.fs.read(\"got/{id}-\" .. names[out]))"));
            }
            What::If { command, pattern, then, otherwise } => {
                self.line(&format!("if vm:run({}).stdout:find \"{pattern}\" then", quoted(command)));
                self.block(then);
                self.line("else");
                self.block(otherwise);
                self.line("end");
            }
            What::For { times, body } => {
                self.line(&format!("for I = 1, {times} do"));
                self.block(body);
                self.line("end");
            }
            What::Caught(command) => {
                let command = quoted(&format!("{command}; echo no >&2; exit 3"));
                self.line(&format!("do local ok, err = pcall(vm.run, vm, {command})"));
                self.line("  note(out, ok, err.kind, err.status, err.stdout, err.stderr, err.message) end");
            }
            What::Unchecked(command) => {
                let command = quoted(&format!("{command}; exit 4"));
                self.line(&format!("note(out, result(vm:run({command}, {{ check = false }})))"));
            }
            What::Retry { file, tries } => {
                let command = quoted(&format!("echo try >>{file}; test $(wc -l <{file}) -ge {tries}"));
                self.line(&format!(
                    "note(out, pcall(rimg.retry, {{ attempts = 3, backoff = 0 }}, function() vm:run({command}) end))"
                ));
            }
            What::Step(body) => {
                self.line(&format!("rimg.step(\"step {id}\", function()"));
                self.block(body);
                self.line("end)");
            }
            What::Checkpoint => self.line(&format!("vm:checkpoint \"c{id}\"")),
            What::Parallel(branches) => {
                self.line("do");
                self.line("  local outs = {}");
                self.line("  rimg.parallel({");
                for (number, branch) in branches.iter().enumerate() {
                    self.line(&format!("  p{number} = function() local out = branch(out, {number}) outs[{number} + 1] = out"));
                    self.block(branch);
                    self.line("  end,");
                }
                self.line("  })");
                self.line("  for _, each in ipairs(outs) do note(out, table.unpack(each)) end");
                self.line("end");
            }
            What::Call { helper, file } => self.line(&format!("helper{helper}(vm, out, {})", quoted(file))),
            What::Variable(file) => self.line(&format!(
                "note(out, result(vm:run(\"echo \" .. rimg.var(\"v\", {{ default = \"0\" }}) .. \" >>\" .. {0} .. \"; cat \" .. {0})))",
                quoted(file)
            )),
            What::Uncached(command) => {
                self.line(&format!("note(out, result(vm:run({}, {{ cache = false }})))", quoted(command)));
            }
            What::Reboot => self.line("vm:reboot { command = \"touch $MEMORY/reboot\" }"),
            What::Fail => self.line("vm:run \"echo bad >>f0; cat f0; exit 7\""),
        }
    }
}

/// Returns a Lua expression; `%F` is the parameter of a helper, `%I` the number of a loop.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("%F", "\" .. F .. \"").replace("%I", "\" .. I .. \""))
}
