---@meta std.harden

--- Hardening: controls, profiles of them, and an audit that changes nothing. Each function returns a provisioner; applied
--- again, it changes nothing.
---@class std.harden
local harden = {}

---@class std.harden.PackagesOptions
---@field remove string[]? Packages that are not to be there, besides the insecure ones that are known here. Default: none.
---@field keep string[]? Insecure ones that stay: `{ "ftp" }`. Default: none.
---@field install string[]? Packages that are to be there. Default: none.
---@field tools boolean? Whether small programs that watch over a machine are installed: debsums, needrestart, libpam-tmpdir, AppArmor's, acct, sysstat and apt-listchanges on Debian. Default: false.

--- Packages that are not to be there, and such that are.
---@param options std.harden.PackagesOptions?
---@return std.Provisioner
function harden.packages(options) end

---@class std.harden.UpdatesOptions
---@field reboot boolean? Whether the machine reboots by itself when an update takes it. Default: false.
---@field reboot_time string? When it does. Default: `"04:00"`.

--- Security updates that are installed by themselves: unattended-upgrades, dnf-automatic.
---@param options std.harden.UpdatesOptions?
---@return std.Provisioner
function harden.updates(options) end

---@class std.harden.TimeSyncOptions
---@field servers string[]? Where the time comes from. Default: the distribution's own.

--- The time, from the network: systemd-timesyncd on Debian, chrony elsewhere.
---@param options std.harden.TimeSyncOptions?
---@return std.Provisioner
function harden.time_sync(options) end

---@class std.harden.SysctlOptions
---@field forwarding boolean? Whether packets may be forwarded: routers, and hosts of containers. Default: false.
---@field router_advertisements boolean? Whether the kernel may take IPv6 addresses from routers. Default: true.
---@field strict boolean? Whether BPF, performance events and line disciplines are root's. Default: false.
---@field values table<string, string|number|false>? Other values, or parameters of your own: `{ ["vm.swappiness"] = 10 }`; false leaves one alone.

--- The kernel's parameters, at boot and now.
---@param options std.harden.SysctlOptions?
---@return std.Provisioner
function harden.sysctl(options) end

---@class std.harden.ModulesOptions
---@field modules string[]? Modules that cannot be loaded. What is mounted at the time stays usable. Default: rare file systems and protocols.

--- Kernel modules that cannot be loaded.
---@param options std.harden.ModulesOptions?
---@return std.Provisioner
function harden.modules(options) end

---@class std.harden.UsbStorageOptions
---@field modules string[]? Default: `{ "usb-storage", "uas" }`.

--- No USB storage.
---@param options std.harden.UsbStorageOptions?
---@return std.Provisioner
function harden.usb_storage(options) end

--- No core dumps.
---@param options table? It has none.
---@return std.Provisioner
function harden.core_dumps(options) end

---@class std.harden.MountsOptions
---@field points table<string, string[]>? Mount points and the options they are to have: `{ ["/home"] = { "nodev", "nosuid" } }`. A folder that is no mount of its own is passed over. Default: `/dev/shm`.

--- Options of mount points, in fstab and now.
---@param options std.harden.MountsOptions?
---@return std.Provisioner
function harden.mounts(options) end

---@class std.harden.BannersOptions
---@field text string? What is shown before a login. Default: that access is for authorized users, and monitored.
---@field motd string? What is shown after one. Default: nothing.

--- Banners before and after a login.
---@param options std.harden.BannersOptions?
---@return std.Provisioner
function harden.banners(options) end

---@class std.harden.CronOptions
---@field users string[]? Who may have jobs. Default: `{ "root" }`.

--- Who may use cron and at, where they are installed.
---@param options std.harden.CronOptions?
---@return std.Provisioner
function harden.cron(options) end

---@class std.harden.UmaskOptions
---@field umask string? Default: `"027"`.

--- The umask of users.
---@param options std.harden.UmaskOptions?
---@return std.Provisioner
function harden.umask(options) end

---@class std.harden.LoginOptions
---@field password_max_days integer? Days after which a password of a new user expires. Users that are there keep theirs. Default: 365.
---@field password_min_days integer? Days before it can be changed again. Default: 1.
---@field password_warn_days integer? Days of warning before it expires. Default: 7.
---@field inactive_days integer? Days after that until the account is locked. Default: 45.
---@field retries integer? Attempts at a login prompt. Default: 5.
---@field timeout integer? Seconds for a login. Default: 60.
---@field hash_rounds integer? Rounds of SHA-crypt, where passwords are hashed with it. Default: 65536.
---@field shell_timeout integer? Seconds after which a shell that nobody uses ends; 0 sets none. Default: 900.
---@field su_group string? The group whose members may use su; made where it is not there. Default: everybody may.

--- Logins: ageing of passwords, attempts, idle shells, su.
---@param options std.harden.LoginOptions?
---@return std.Provisioner
function harden.login(options) end

---@class std.harden.JournaldOptions
---@field storage ("persistent"|"volatile"|"auto")? Default: `"persistent"`.
---@field max_use rimg.Size? The most it may take on the disk. Default: `"1G"`.
---@field forward_to_syslog boolean? Default: false.

--- The journal.
---@param options std.harden.JournaldOptions?
---@return std.Provisioner
function harden.journald(options) end

---@class std.harden.AuditRulesOptions
---@field groups string[]? What is written down: `scope`, `actions`, `sudo_log`, `time`, `network`, `access`, `identity`, `permissions`, `mounts`, `sessions`, `logins`, `deletions`, `mac`, `modules`. Default: all.
---@field rules string[]? Rules of your own: `"-w /etc/app -p wa -k app"`. Default: none.
---@field immutable boolean? Whether the rules can only be changed by a reboot. Default: false.
---@field max_log_file integer? Megabytes of one log. Default: 32.
---@field keep_logs boolean? Whether old logs are never removed. Default: false.

--- auditd and its rules.
---@param options std.harden.AuditRulesOptions?
---@return std.Provisioner
function harden.audit_rules(options) end

---@class std.harden.AideOptions
---@field schedule string? When files are checked, as systemd says it. Default: `"daily"`.
---@field initialize boolean? Whether the database is made now, which reads every file; the first check makes it otherwise. Default: false.

--- File integrity, with AIDE.
---@param options std.harden.AideOptions?
---@return std.Provisioner
function harden.aide(options) end

---@class std.harden.BootLoaderOptions
---@field password_hash string? A password for changing what is booted, as `grub-mkpasswd-pbkdf2` prints it; booting takes none. Default: none.
---@field superuser string? The name that goes with it. Default: `"root"`.
---@field kernel_parameters string[]? What the kernel is booted with, besides what is there: `{ "audit=1" }`. Default: none.

--- The boot loader: GRUB.
---@param options std.harden.BootLoaderOptions?
---@return std.Provisioner
function harden.boot_loader(options) end

---@class std.harden.PermissionsOptions
---@field home_mode string? What homes of people have at most. Default: `"0750"`.
---@field scan boolean? Whether the whole root file system is searched for what all may write to, and what is nobody's. Default: false.
---@field compilers boolean? Whether compilers, the assembler among them, are for root to run. Default: false.
---@field files table<string, string>? Files of your own, and the permissions they have at most: `{ ["/etc/app.conf"] = "0640" }`.

--- Permissions of files: no wider than these; narrower ones stay.
---@param options std.harden.PermissionsOptions?
---@return std.Provisioner
function harden.permissions(options) end

---@class std.harden.PasswordsOptions
---@field min_length integer? Default: 14.
---@field min_classes integer? Of lower case, upper case, digits and others. Default: 3.
---@field max_repeat integer? The same character in a row; 0 allows any number. Default: 3.
---@field max_sequence integer? Such as abc or 123; 0 allows any length. Default: 3.
---@field different integer? Characters that were not in the old one. Default: 2.
---@field remember integer? Old passwords that cannot be used again; 0 remembers none. Default: 24.
---@field lock_after integer? Wrong passwords after which an account is locked; 0 locks none. Default: 5.
---@field unlock_after integer? Seconds it is locked for. Default: 900.

--- What PAM asks of passwords: pwquality, pwhistory, faillock.
---@param options std.harden.PasswordsOptions?
---@return std.Provisioner
function harden.passwords(options) end

---@class std.harden.SudoOptions
---@field use_pty boolean? Default: true.
---@field log_file string? Default: `"/var/log/sudo.log"`.
---@field timeout number? Minutes for which a password counts; 0 asks each time. Default: 15.
---@field tries integer? Default: 3.

--- sudo; checked by visudo before it is put in place, and with all its files after.
---@param options std.harden.SudoOptions?
---@return std.Provisioner
function harden.sudo(options) end

---@class std.harden.FirewallOptions
---@field tcp (integer|string)[]? Ports that are open, besides SSH's: `{ 443, "8000-8010" }`. Default: none.
---@field udp (integer|string)[]? Default: none.
---@field ssh (integer|string)[]? SSH's own. Default: those that sshd listens on.
---@field rules string[]? Lines of nftables' language, for the input chain. Default: none.
---@field ping boolean? Whether pings are answered. Default: true.
---@field log boolean? Whether what is dropped is logged, five times a minute at most. Default: true.
---@field forward boolean? Whether packets may be forwarded. Default: false.

--- The firewall: nftables, which drops what is not asked for.
---@param options std.harden.FirewallOptions?
---@return std.Provisioner
function harden.firewall(options) end

---@class std.harden.SshOptions
---@field permit_root_login ("no"|"prohibit-password"|"forced-commands-only"|"yes")? Default: `"no"`.
---@field passwords boolean? Whether users may log in with passwords. Default: false.
---@field gssapi boolean? Default: false.
---@field tcp_forwarding boolean? Default: false.
---@field agent_forwarding boolean? Default: false.
---@field log_level ("INFO"|"VERBOSE")? Default: `"VERBOSE"`.
---@field login_grace_time integer? Seconds for a login. Default: 60.
---@field max_auth_tries integer? Default: 4.
---@field max_sessions integer? Sessions in one connection. Default: 10.
---@field max_startups string? Logins at a time. Default: `"10:30:60"`.
---@field client_alive_interval integer? Seconds. Default: 300.
---@field client_alive_count_max integer? Default: 2.
---@field banner string? The file that is shown before a login; empty shows none. Default: `"/etc/issue.net"`.
---@field allow_users string[]? Who may log in. Default: everybody.
---@field allow_groups string[]? Whose members may log in. Default: everybody.
---@field ciphers string[]? Those of them that the machine's OpenSSH knows. Default: AES in GCM and CTR mode, and ChaCha20.
---@field macs string[]? Default: those with SHA-2.
---@field kex string[]? Key exchanges. Default: post-quantum hybrids, Curve25519, and large groups with SHA-2.
---@field lockout boolean? Whether the user that the build logs in with may be locked out. Default: false, and an error before anything is changed.

--- The SSH server; its settings are checked by `sshd -t` before they are put in place.
---@param options std.harden.SshOptions?
---@return std.Provisioner
function harden.ssh(options) end

--- Controls of a profile, by name: their options; true takes the profile's own, or the defaults, and false leaves one out.
---@class std.harden.Controls
---@field packages (std.harden.PackagesOptions|boolean)?
---@field updates (std.harden.UpdatesOptions|boolean)?
---@field time_sync (std.harden.TimeSyncOptions|boolean)?
---@field sysctl (std.harden.SysctlOptions|boolean)?
---@field modules (std.harden.ModulesOptions|boolean)?
---@field usb_storage (std.harden.UsbStorageOptions|boolean)?
---@field core_dumps (table|boolean)?
---@field mounts (std.harden.MountsOptions|boolean)?
---@field banners (std.harden.BannersOptions|boolean)?
---@field cron (std.harden.CronOptions|boolean)?
---@field umask (std.harden.UmaskOptions|boolean)?
---@field login (std.harden.LoginOptions|boolean)?
---@field journald (std.harden.JournaldOptions|boolean)?
---@field audit_rules (std.harden.AuditRulesOptions|boolean)?
---@field aide (std.harden.AideOptions|boolean)?
---@field boot_loader (std.harden.BootLoaderOptions|boolean)?
---@field permissions (std.harden.PermissionsOptions|boolean)?
---@field passwords (std.harden.PasswordsOptions|boolean)?
---@field sudo (std.harden.SudoOptions|boolean)?
---@field firewall (std.harden.FirewallOptions|boolean)?
---@field ssh (std.harden.SshOptions|boolean)?

--- A profile's controls, together: one installation of packages, one program. In the place of a name, a table of controls
--- is a profile of your own.
---
--- ```lua
--- vm:apply(harden.profile("strict", { firewall = { tcp = { 443 } }, usb_storage = false }))
--- ```
---@param profile "baseline"|"cis_level1"|"strict"|std.harden.Controls
---@param changes std.harden.Controls? What is other than in the profile.
---@return std.Provisioner
function harden.profile(profile, changes) end

---@class std.harden.AuditOptions
---@field json string? A file of this host for the report.
---@field html string? A file of this host for a page of it.
---@field check boolean? Whether a rule that does not hold is an error, which names all of them. Default: false.
---@field name string? What the report is called.

---@class std.harden.AuditResult
---@field control string The control: `ssh`.
---@field rule string The rule: `ssh.PermitRootLogin`.
---@field title string What is wanted.
---@field references string Its ids: CIS, STIG, dev-sec, Lynis.
---@field state "holds"|"differs"|"skipped"
---@field found string What was found.

---@class std.harden.AuditReport
---@field name string
---@field system string The machine's distribution.
---@field ok boolean Whether all that applies holds.
---@field held integer
---@field failed integer
---@field skipped integer Rules that do not apply to the machine.
---@field results std.harden.AuditResult[]

--- Looks at what holds on a machine, and changes nothing.
---@async
---@param vm rimg.Machine
---@param what string|std.harden.Controls|table A profile's name, or what applies controls.
---@param options std.harden.AuditOptions?
---@return std.harden.AuditReport
function harden.audit(vm, what, options) end

return harden
