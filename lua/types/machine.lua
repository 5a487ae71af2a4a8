---@meta

--- A machine: what a builder hands to the script. All work on it is a method; each one is an operation, shown, timed and
--- reported. A failure raises an error value with the fields `kind`, `message`, `hint` and what else is known (`status`,
--- `stdout`, `stderr`).
---@class rimg.Machine
---@field name string The name in output: `qemu`, or the host's.
---@field host string? The address its communicator uses.
---@field port integer? The port its communicator uses.
---@field user string? The user that commands run as.
---@field id string? What identifies it to its platform: a process id, an instance id.
local Machine = {}

--- What a command gives back.
---@class rimg.CommandResult
---@field status integer The exit status; 128 and more for signals, as a shell reports it.
---@field signal string? The signal that killed it, without `SIG`.
---@field stdout string What it wrote, at most 16 MiB, with its line ends.
---@field stderr string What it wrote to standard error, at most 16 MiB.
---@field ok boolean Whether the status is an accepted one.
---@field cached boolean Whether this is a recorded result.
---@field truncated boolean Whether it wrote more than the result holds.
---@field disconnected boolean Whether the connection dropped before its end was seen (`expect_disconnect`).

--- What any operation may be told besides its own options; a provisioner, too: `vm:apply(options, provisioner)`. An
--- operation that is left out gives nil.
---@class rimg.OperationOptions
---@field only (string|string[])? Globs of the names of the builds in which it is done: `"web-*"`. Default: all.
---@field except (string|string[])? Globs of the names of the builds in which it is not done: `"db-*"`.
---@field override table<string, table>? Other values of its options, by the name of the build: `{ web = { timeout = "5m" } }`.
---@field continue_on_error boolean? Whether its failure is a warning, and its result a table of the error's fields with `ok = false`. A wrong option or a dead machine stays an error. Default: false.
---@field pause_before rimg.Duration? How long to wait before it. Default: 0.
---@field timeout rimg.Duration? How long one attempt may take. Default: no limit; 5 minutes for a reboot.
---@field max_retries integer? How many more attempts a failed one is followed by, after a pause that doubles from half a second to 15 seconds. Default: 0.
---@field cache boolean? Whether a result recorded by an earlier run may stand for doing it. With false it is done anew in every run, and so is all that follows it. For a provisioner: of all operations in it. Default: true.
---@field max_age rimg.Duration? How old such a record may be. Default: any age.

---@class rimg.RunOptions : rimg.OperationOptions
---@field check boolean? Whether a status that is not accepted raises an error. Default: true.
---@field valid_exit_codes integer[]? The accepted exit statuses. Default: 0 alone.
---@field env (table<string, string|number|boolean>|string[])? Environment variables: a table, in which `false` takes one away, or a list of `"NAME=value"`. They show in no process list.
---@field input string? Text for the command's standard input. Default: none.
---@field cwd string? The folder it runs in. Default: the user's home.
---@field sudo boolean? Whether it runs as root, by sudo where the user is not root. Default: false.
---@field quiet boolean? Whether its output is captured without being shown. Default: false.

--- Runs a command: a line for the user's shell, or a list of a program and its arguments, which no shell sees.
---
--- ```lua
--- local kernel = vm:run("uname -r").stdout
--- vm:run({ "useradd", "--create-home", "ops" }, { sudo = true })
--- ```
---@async
---@param command string|string[]
---@param opts rimg.RunOptions?
---@return rimg.CommandResult
function Machine:run(command, opts) end

---@class rimg.ShellOptions : rimg.OperationOptions
---@field [integer] string Lines that make one script.
---@field inline (string|string[])? The same by Packer's name.
---@field script string? A script file on this host, relative to the Lua script.
---@field scripts (string|string[])? Script files on this host, run in order, each an operation of its own.
---@field env (table<string, string|number|boolean>|string[])? Environment variables: a table, in which `false` takes one away, or a list of `"NAME=value"`.
---@field environment_vars (table<string, string|number|boolean>|string[])? The same by Packer's name; `env` wins.
---@field sudo boolean? Whether it runs as root, by sudo where the user is not root. Default: false.
---@field execute_command string? Packer's template of the command that runs a script: `{{ .Vars }} sudo -S -E sh {{ .Path }}`; also `{{ .EnvVarFile }}`. Default: the interpreter that the script's first line names; its environment shows in no process list.
---@field inline_shebang string? What runs inline lines. Default: `/bin/sh -e`.
---@field remote_folder string? The folder on the machine that scripts are put in. Default: `/tmp`.
---@field remote_file string? The script's name there. Default: an unguessable one.
---@field remote_path string? The script's full path on the machine, in place of the two above.
---@field valid_exit_codes integer[]? The accepted exit statuses. Default: 0 alone.
---@field check boolean? Whether a status that is not accepted raises an error. Default: true.
---@field expect_disconnect boolean? Whether the connection may drop while it runs: that counts as done, and the next operation connects anew. Default: false. To reboot, `vm:reboot()` is better: it waits for the new boot.
---@field start_retry_timeout rimg.Duration? How long reaching the machine may take before the script starts, as after a reboot. Default: the builder's `ssh_timeout`.
---@field pause_after rimg.Duration? How long to wait after the script. Default: 0.
---@field skip_clean boolean? Whether the script stays on the machine. Default: false.
---@field binary boolean? Whether the script is sent as it is; otherwise its CRLF line ends become LF. Default: false.
---@field quiet boolean? Whether its output is captured without being shown. Default: false.

--- Runs scripts: a text, a list of lines, or a table of options. Every file is read before anything runs. The result is
--- the last script's. `PACKER_BUILD_NAME` is set to the build's name.
---
--- ```lua
--- vm:shell "sudo apt-get update"
--- vm:shell { scripts = { "scripts/base.sh", "scripts/web.sh" }, sudo = true, env = { DEBIAN_FRONTEND = "noninteractive" } }
--- ```
---@async
---@param what string|string[]|rimg.ShellOptions
---@return rimg.CommandResult
function Machine:shell(what) end

---@class rimg.UploadOptions : rimg.OperationOptions
---@field mode string? A file's permission bits as an octal string, `"0644"`. Default: the file's own. Trees keep theirs.
---@field owner string? The owner, `user` or `user:group`; of a tree, of all that is in it. Default: a file that is there keeps its own.
---@field group string? The group, in place of one in `owner`.
---@field sudo boolean? Whether it is put in place as root, by sudo where the user is not root; missing folders are made. Default: false.
---@field generated boolean? Whether the source is only made in the course of the build: `rimg check` does not look for it. Default: false.

--- Uploads a file or a folder, and returns the bytes sent. As in Packer, the contents of `src/` go into the folder
--- `dst`, and the folder `src` becomes `dst/src`; a file goes to the path `dst`, or into the folder `dst/`.
--- Several sources go into the folder `dst/`, each under its own name; all of them are looked for before the first is sent.
---
--- A file appears whole at its target or not at all, and an upload whose connection drops starts over on a new one.
--- Folders keep modes, times, symbolic and hard links, and holes; folders that are there keep their modes.
---@async
---@param src string|string[] A path on this host, relative to the Lua script; or several.
---@param dst string A path on the machine; `~/` is the user's home.
---@param opts rimg.UploadOptions?
---@return integer bytes
function Machine:upload(src, dst, opts) end

---@class rimg.DownloadOptions : rimg.OperationOptions
---@field sudo boolean? Whether it is read as root, by sudo where the user is not root. Default: false.

--- Downloads a file or a folder, and returns the bytes received. Trailing slashes mean what they mean to `upload`; files
--- that are there are replaced.
---@async
---@param src string A path on the machine; `~/` is the user's home.
---@param dst string A path on this host, relative to the Lua script.
---@param opts rimg.DownloadOptions?
---@return integer bytes
function Machine:download(src, dst, opts) end

---@class rimg.WriteOptions : rimg.OperationOptions
---@field mode string? Permission bits as an octal string. Default: `"0644"` for a new file.
---@field owner string? The owner, `user` or `user:group`. Default: a file that is there keeps its own.
---@field group string? The group, in place of one in `owner`.
---@field sudo boolean? Whether it is written as root, by sudo where the user is not root. Missing folders are made; a file that is there keeps owner and mode unless they are given. Default: false.

--- Writes text (or any bytes) to a file on the machine.
---@async
---@param path string
---@param content string
---@param opts rimg.WriteOptions?
function Machine:write(path, content, opts) end

---@class rimg.ReadOptions : rimg.OperationOptions
---@field sudo boolean? Whether it is read as root, by sudo where the user is not root. Default: false.

--- Returns the content of a file on the machine, byte for byte, up to 64 MiB (12 MiB with `sudo`).
---@async
---@param path string
---@param opts rimg.ReadOptions?
---@return string
function Machine:read(path, opts) end

--- Renders a template file of this host (`{{ name }}`, `{% for %}`: Jinja) and writes it to the machine. A variable that
--- is not there is an error.
---@async
---@param src string A path on this host, relative to the Lua script.
---@param dst string
---@param vars table<string, any>?
---@param opts rimg.WriteOptions?
function Machine:template(src, dst, vars, opts) end

---@class rimg.RebootOptions : rimg.OperationOptions
---@field command string? The command that reboots the machine. Default: systemd's or `reboot`, as root.
---@field pause_after rimg.Duration? How long to wait after the machine is back. Default: 0.

--- Reboots the machine, and waits until it is the new boot that takes commands.
---@async
---@param opts rimg.RebootOptions?
function Machine:reboot(opts) end

--- What a machine is.
---@class rimg.Facts
---@field system string `linux`, `freebsd`, `darwin`.
---@field os_family string `debian`, `redhat`, `suse`, `alpine`, `arch`, … by what the distribution says it is like.
---@field distribution string `debian`, `ubuntu`, `fedora`, …
---@field version string `12`, `24.04`, …; empty where there is none.
---@field version_major integer The first number of `version`; 0 where there is none.
---@field codename string `bookworm`, `noble`, …
---@field pretty_name string `Debian GNU/Linux 12 (bookworm)`.
---@field arch string `x86_64`, `aarch64`, …
---@field kernel string The kernel's release.
---@field hostname string The name it has given itself.
---@field init string `systemd`, `openrc`, `runit`, or the name of process 1.
---@field package_manager string `apt`, `dnf`, `yum`, `zypper`, `apk`, `pacman`, `emerge`, `xbps`, `nix`, `pkg`.
---@field cpus integer Its processors.
---@field memory integer Bytes.
---@field user string The user that commands run as.
---@field home string That user's home folder.
---@field is_root boolean Whether that user is root.
---@field has_sudo boolean Whether sudo is installed.
---@field has_cloud_init boolean Whether cloud-init is installed.
---@field virtualization string `kvm`, `qemu`, `oracle`, `vmware`, `docker`, …; `none` on bare metal, empty where unknown.
---@field firmware string `uefi` or `bios`.
---@field os_release table<string, string> All of `/etc/os-release`.

--- Keeps the machine as it is now, memory and disk, so that a later run goes on from here at most, instead of from an
--- earlier point. rimg takes checkpoints by itself after what took long; this is for where you know better. Without effect
--- on machines that cannot do it (`rimg.host`, `rimg.localhost`).
---@param name string? `--from NAME` does everything anew from here on.
function Machine:checkpoint(name) end

--- Goes on from this point as several machines at once, each a machine of its own that begins as this one is now. This one
--- stays as it is.
---
--- ```lua
--- local images = vm:fork {
---   web = function(vm) vm:run "apt-get install -y nginx"; return vm:finish { output_directory = "out/web" } end,
---   db  = function(vm) vm:run "apt-get install -y postgresql"; return vm:finish { output_directory = "out/db" } end,
--- }
--- ```
---@param variants table<string, fun(vm: rimg.Machine): any>
---@return table<string, any> results What each function returned, by name.
function Machine:fork(variants) end

--- Returns what the machine is; asked once, until it reboots.
---@async
---@param opts rimg.OperationOptions?
---@return rimg.Facts
function Machine:facts(opts) end

--- Runs a provisioner on the machine, as a step of its own in output and report: a function of the machine, or a table
--- with a function `apply` (what `require "std.…"` modules give). What any operation may be told stands in front:
---
--- ```lua
--- local function web_server(vm, port) vm:run("make install PORT=" .. port, { sudo = true }) end
--- vm:apply(web_server, 80)
--- vm:apply({ only = "web-*", timeout = "10m", max_retries = 2 }, require("std.packages").install { "nginx" })
--- ```
---@async
---@overload fun(self: rimg.Machine, options: rimg.OperationOptions, provisioner: fun(vm: rimg.Machine, ...): ...): any
---@param provisioner fun(vm: rimg.Machine, ...): ...
---@param ... any
---@return any ...
function Machine:apply(provisioner, ...) end

---@class rimg.BreakpointOptions : rimg.OperationOptions
---@field note string? What to tell the person who looks. Default: nothing.
---@field disable boolean? Whether it is passed over. Default: false.

--- Waits until a person presses Enter. Only with `--debug`, and on a terminal; otherwise it says so and goes on. What
--- follows one that stopped is done anew.
---@async
---@param opts (string|rimg.BreakpointOptions)?
function Machine:breakpoint(opts) end

--- Writes a PNG picture of the machine's screen, and returns its full path.
---@async
---@param path string A path on this host, relative to the Lua script.
---@param opts rimg.OperationOptions?
---@return string
function Machine:screenshot(path, opts) end

---@class rimg.TypeOptions : rimg.OperationOptions
---@field keyboard_layout rimg.KeyboardLayout? The layout of the keyboard that the guest believes it has. Default: the builder's `keyboard_layout`, else `us`.
---@field key_interval rimg.Duration? How long to wait after each key that goes down or comes up. Default: as long as the guest takes.

--- Types on the machine's keyboard, in the notation of `boot_command`, and returns when the guest has taken the last key.
---
--- ```lua
--- vm:type "<leftAltOn><f2><leftAltOff><wait>root<enter>"
--- ```
---@async
---@param text string
---@param opts rimg.TypeOptions?
function Machine:type(text, opts) end

--- Returns the text on the machine's screen, as lines: a text mode's, or what is painted with a known console font (VGA,
--- Linux, GRUB, EFI, Debian's installer). A cell with something else on it is `\u{FFFD}`; a screen without text is empty.
---@async
---@param opts rimg.OperationOptions?
---@return string
function Machine:screen_text(opts) end

--- Returns what the machine has written to its serial console since its start, at most the last 4 MiB, as lines without
--- escape sequences.
---@async
---@param opts rimg.OperationOptions?
---@return string
function Machine:serial(opts) end

---@class rimg.ExpectOptions : rimg.OperationOptions
---@field timeout rimg.Duration? How long to wait, in each attempt. Default: 60 seconds.
---@field source ("screen"|"serial"|"any")? Where to look. Default: `"any"`.
---@field plain boolean? Whether the patterns are literal text. Default: false.
---@field from_start boolean? Whether the serial console is looked at from its beginning. Default: false, from behind the last match.
---@field fail string[]? Patterns that end the wait with an error as soon as they appear: what an installer shows when it gives up, `{ "step failed" }`.

--- What appeared.
---@class rimg.Expected
---@field index integer Which of the patterns it was.
---@field match string The text that matched.
---@field captures string[] What its groups matched; empty for one that took no part.
---@field named table<string, string> What its named groups, `(?<name>…)`, matched.
---@field text string All of the screen's text, or the serial console's from the last match up to this one.
---@field source "screen"|"serial" Where it appeared.

--- Waits until a pattern, or the first of several, appears on the machine's screen or serial console. Patterns are regular
--- expressions in the syntax of Rust's `regex`; `^` and `$` stand at the ends of lines. A screen is taken as it is now; on the
--- serial console the search goes on behind the last match, so that two equal prompts are two matches. If nothing appears in
--- time, the error shows what is there instead, and names a picture of the screen.
---
--- ```lua
--- local seen = vm:expect({ "login: $", "Kernel panic" }, { timeout = "5m" })
--- if seen.index == 2 then rimg.fail(seen.text) end
--- ```
---@async
---@param pattern string|string[]
---@param opts rimg.ExpectOptions?
---@return rimg.Expected
function Machine:expect(pattern, opts) end

---@class rimg.ShutdownOptions : rimg.OperationOptions
---@field command string? The command that shuts it down. Default: the builder's `shutdown_command`, else the power button.
---@field timeout rimg.Duration? How long it may take. Default: the builder's `shutdown_timeout`.

--- Shuts the machine down and waits until it is off. Only `finish` and `destroy` work on it afterwards.
---@async
---@param opts rimg.ShutdownOptions?
function Machine:shutdown(opts) end

---@class rimg.FinishOptions
---@field output_directory string? The folder the image goes to, relative to the Lua script; it appears whole. Default: `output-BUILD`.
---@field name string? The image's file name without extension. Default: the machine's name.
---@field format string? `qcow2`, `raw`, `vmdk`, `vdi` or `vhdx`. Default: the builder's own.
---@field compact boolean? Whether unused space is squeezed out. Default: true.
---@field compress boolean? Whether the image's clusters are compressed (qcow2, vmdk). Default: false.
---@field shutdown_command string? The command that shuts the machine down. Default: the builder's.
---@field shutdown_timeout rimg.Duration? How long the shutdown may take. Default: the builder's.

--- Shuts the machine down if it is up, makes the artifact, and removes the machine. What any operation may be told is not
--- for it, nor for `destroy`: it is done once, and without its artifact there is nothing to go on with.
---@async
---@param opts rimg.FinishOptions?
---@return rimg.Artifact
function Machine:finish(opts) end

--- Removes the machine without an artifact. The end of a build does the same.
---@async
function Machine:destroy() end
