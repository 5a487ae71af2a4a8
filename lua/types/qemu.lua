---@meta

---@class rimg
local rimg = {}

--- Options of a machine that QEMU runs on this host. Names are Packer's where the thing is the same. The connection's
--- options (`ssh_username`, `ssh_password`, …) stand in the same table. Without `ssh_password`, `ssh_private_key_file`
--- and `ssh_agent_auth` a temporary key is planted through cloud-init, for `ssh_username` or else a user `rimg` that may
--- use sudo; the machine's host key is planted too, and so known from the first connection.
---@class rimg.QemuOptions : rimg.IsoOptions, rimg.BootOptions, rimg.HttpServerOptions, rimg.CdOptions, rimg.FloppyOptions, rimg.SshOptions
---@field source_image string|rimg.Artifact The disk image to start from: a path (relative to the script), an `http(s)` URL, or what another build left. Any format that qemu-img reads. Required.
---@field source_checksum string? What the image must be: `sha256:…`, `file:URL` of a checksum file, or `none`. Required for a URL.
---@field use_backing_file boolean? Whether the disk is an overlay on the image instead of a copy of it. Default `true`.
---@field cpus integer? Processors. Default 2.
---@field memory rimg.Size? Memory, `"2G"`; a bare number counts mebibytes. Default `"1G"`.
---@field disk_size rimg.Size? What the disk is enlarged to. Default: the image's own size.
---@field machine_type string? QEMU's machine type: `pc`, `q35`, … Default `pc`, and `virt` on ARM and RISC-V.
---@field cpu_model string? QEMU's processor model. Default `host`, or `max` (on x86-64 without la57) when emulating.
---@field net_device string? The network card's model. Default `virtio-net`.
---@field disk_interface ("virtio"|"virtio-scsi"|"ide"|"sata"|"scsi")? How the disk is attached. Default `virtio`.
---@field disk_cache ("unsafe"|"writeback"|"writethrough"|"none"|"directsync")? QEMU's cache mode for the disk. Default `unsafe`: a build that the host's crash interrupts starts over anyway.
---@field disk_discard ("unmap"|"ignore")? Whether space the guest gives up is given up on the host. Default `unmap`.
---@field disk_detect_zeroes ("unmap"|"on"|"off")? Whether blocks of zeroes are stored as holes. Default `unmap`.
---@field headless boolean? Whether no window is shown. Default `true`.
---@field display string? QEMU's display: `gtk`, `sdl`, `vnc=:1`, `none`. It has precedence over `headless`.
---@field qemuargs string[][]? Arguments for QEMU, `{ { "-device", "virtio-gpu-pci" }, … }`. They replace rimg's own of the same flag, but never what rimg watches the machine with; a `-device` is added, and replaces the network card if it names a `netdev`; a `-drive` replaces the disk. `{{ .SSHHostPort }}`, `{{ .OutputDir }}` and `{{ .Name }}` (the disk's folder and file) are filled in.
---@field qemu_binary string? The QEMU program; its name says which architecture the guest has. Default `qemu-system-x86_64`.
---@field accelerator ("auto"|"kvm"|"tcg"|"hvf"|"whpx"|"nvmm"|"xen"|"none")? What runs the guest's processor. `auto`, the default, tries what the host offers, falls back to emulation (`tcg`) if that does not work, and remembers it for this host.
---@field vm_name string? The machine's name, also of the finished image. Default: the build's name.
---@field shutdown_command string? The command that powers the guest off, `sudo poweroff`. Default: the ACPI power button.
---@field shutdown_timeout rimg.Duration? How long the shutdown may take. Default `"5m"`.
---@field user_data (table|string)? cloud-init user data: a table (becomes `#cloud-config`), text, or the path of a file.
---@field meta_data (table|string)? cloud-init metadata: a table, text, or the path of a file. Default: a new `instance-id`.
---@field network_config (table|string)? cloud-init network configuration: a table, text, or the path of a file.
---@field serial_log string? A file that keeps what the guest says on its serial console.

--- Starts a machine from a disk image with QEMU and returns it when it takes commands.
---
--- ```lua
--- local vm = rimg.qemu { source_image = "debian-12.qcow2", memory = "2G", disk_size = "20G" }
--- vm:shell "sudo apt-get update"
--- return vm:finish { output_directory = "out/base" }
--- ```
---@async
---@param options rimg.QemuOptions
---@return rimg.Machine
function rimg.qemu(options) end
