"""A slow, lossy line between two network namespaces: netem where the kernel has it, else a relay of our own.

    with wan.Line(delay=0.05, loss=0.01) as line:
        subprocess.run([*line.near, "ping", "-c", "3", line.far_address])

The relay reads packets from a TUN device in each namespace and writes them to the other one after a delay, but for
those it drops. Which ones is drawn from a seeded generator. Run as a program, this file is that relay.
"""

import collections
import contextlib
import ctypes
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time

# linux/if_tun.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
# linux/sched.h
CLONE_NEWNET = 0x40000000
DEVICE, MTU = "wan0", 1500
# What a router would hold before it drops more: generous, for loss is to come from the line.
QUEUE = 10_000


class Unavailable(Exception):
    """There can be no such line here, and why."""


class Line:
    def __init__(self, delay, loss, seed=1):
        self.delay, self.loss, self.seed = delay, loss, seed
        self.names = [f"rimg-bench-{os.getpid()}-{end}" for end in ("near", "far")]
        # A network for tests of network devices (RFC 2544).
        self.near_address, self.far_address = "198.18.0.1", "198.18.0.2"
        self.near, self.far = (["ip", "netns", "exec", name] for name in self.names)
        self.how, self._relay = "", None

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("network namespaces need root")
        if not shutil.which("ip"):
            raise Unavailable("ip is not installed")
        try:
            for name in self.names:
                _ip("netns", "add", name)
            if not self._netem():
                self._relayed()
            for name, address in zip(self.names, (self.near_address, self.far_address)):
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "address", "add", f"{address}/24", "dev", DEVICE)
                _ip("-n", name, "link", "set", DEVICE, "mtu", str(MTU), "up")
                # What one connection learned about the line is not for the next to know.
                subprocess.run(["ip", "netns", "exec", name, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_no_metrics_save"],
                               stderr=subprocess.DEVNULL)
        except BaseException:
            self.__exit__()
            raise
        with contextlib.suppress(OSError), open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
            # Whether a lost packet slows a connection down is a matter of this more than of all else.
            self.how += f", {file.read().strip()}"
        return self

    def __exit__(self, *_):
        if self._relay:
            self._relay.kill()
            self._relay.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def _netem(self):
        """Joins the namespaces by a pair of devices with netem; tells whether the kernel can."""
        near, far = self.names
        with contextlib.suppress(Unavailable):
            _ip("-n", near, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", far)
            try:
                for name in self.names:
                    _run("tc", "-n", name, "qdisc", "add", "dev", DEVICE, "root", "netem", "limit", str(QUEUE),
                         "delay", f"{self.delay * 1000}ms", "loss", f"{self.loss * 100}%")
                self.how = "netem"
                return True
            except Unavailable:
                _ip("-n", near, "link", "delete", DEVICE)
        return False

    def _relayed(self):
        relay = subprocess.Popen([sys.executable, __file__, *self.names, str(self.delay), str(self.loss), str(self.seed)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._relay = relay
        if relay.stdout.readline() != "ready\n":
            said = relay.communicate()[1].strip().rpartition("\n")[2]
            raise Unavailable(f"no TUN devices between namespaces: {said}")
        self.how = "a relay"


def _run(*command):
    if not shutil.which(command[0]):
        raise Unavailable(f"{command[0]} is not installed")
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Unavailable(f"`{' '.join(command)}`: {done.stderr.strip()}")


def _ip(*words):
    _run("ip", *words)


def _tun(namespace):
    """Makes the TUN device in a namespace, where this process then is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}: {os.strerror(ctypes.get_errno())}")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return device


def relay(near, far, delay, loss, seed):
    devices = [_tun(near), _tun(far)]
    print("ready", flush=True)
    # The same delay for all: what came first goes first.
    under_way = collections.deque()
    drawn = {device: random.Random(seed + n) for n, device in enumerate(devices)}
    other = dict(zip(devices, reversed(devices)))
    while True:
        wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
        ready = select.select([*devices, sys.stdin], [], [], wait)[0]
        if sys.stdin in ready:
            # Whoever started this is gone.
            return
        for device in ready:
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = os.read(device, 65536)
                    if drawn[device].random() >= loss and len(under_way) < 2 * QUEUE:
                        under_way.append((time.monotonic() + delay, other[device], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, device, packet = under_way.popleft()
            # A device that is not up yet, or whose queue is full, loses it.
            with contextlib.suppress(OSError):
                os.write(device, packet)


if __name__ == "__main__":
    relay(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5]))
