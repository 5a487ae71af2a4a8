"""States that take their time: moto's things are ready at once."""

from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.models.elastic_block_store import EBSBackend, Snapshot
from moto.ec2.models.instances import Instance, InstanceBackend, InstanceState, StateReason
from moto.ec2.responses import EC2Response

from patch import around

#: After how many questions that name it a thing is ready.
POLLS = {"images": 0, "snapshots": 0, "instances": 0}


#: Regions where images fail instead, and why.
FAIL = {}


def reset():
    POLLS.update(images=0, snapshots=0, instances=0)
    FAIL.clear()


def order(told):
    """Takes what a test wants: polls by kind, and regions to fail in."""
    FAIL.update(told.pop("fail", {}))
    POLLS.update(told)


class Waiting:
    """How far a thing is."""

    def __init__(self, polls, then):
        self.left, self.all, self.then = polls, polls, then

    @property
    def percent(self):
        return 100 * (self.all - self.left) // self.all


def wait(thing, kind, then):
    """Calls `then` when the thing has been asked for often enough."""
    polls = POLLS[kind]
    thing.waiting = Waiting(polls, then) if polls else None
    return bool(polls)


def asked(things):
    """Counts a question for these things; the answer still is of the old state."""
    for thing in things:
        waiting = getattr(thing, "waiting", None)
        if waiting is None:
            continue
        if waiting.left == 0:
            thing.waiting = None
            waiting.then()
        else:
            waiting.left -= 1


def named(response, key):
    """Tells whether a Describe call is for certain things, rather than for all."""
    return bool(response._get_param(key, []) or response._get_param("Filters", []))


@around(AmiBackend, "create_image", "copy_image", "register_image")
def made_image(old, self, *args, **kwargs):
    image = old(*args, **kwargs)
    image.root_device_type = "ebs"
    snapshot = image.ebs_snapshot

    def ready():
        why = FAIL.get(self.region_name)
        image.state = "failed" if why else "available"
        image.state_reason = StateReason(why, "Client.InternalError") if why else None

    if wait(image, "images", ready):
        image.state = "pending"
    else:
        ready()
    wait_snapshot(snapshot)
    snapshot.image = image
    return image


@around(EBSBackend, "create_snapshot", "copy_snapshot")
def made_snapshot(old, self, *args, **kwargs):
    snapshot = old(*args, **kwargs)
    if "from_ami" not in kwargs:
        wait_snapshot(snapshot)
    return snapshot


def wait_snapshot(snapshot):
    if wait(snapshot, "snapshots", lambda: setattr(snapshot, "status", "completed")):
        snapshot.status = "pending"


def progress(snapshot):
    """Shows a snapshot's progress; one that is ready otherwise shows its image's."""
    image = getattr(snapshot, "image", None)
    waiting = getattr(snapshot, "waiting", None) or getattr(image, "waiting", None)
    return f"{waiting.percent if waiting else 100}%"


Snapshot.progress = property(progress)


@around(EC2Response, "describe_images")
def describe_images(old, self):
    if named(self, "ImageIds"):
        ids = self._get_param("ImageIds", [])
        asked([image for image in self.ec2_backend.amis.values() if not ids or image.id in ids])
    return old()


@around(EC2Response, "describe_snapshots")
def describe_snapshots(old, self):
    if named(self, "SnapshotIds"):
        ids = self._get_param("SnapshotIds", [])
        asked([snapshot for snapshot in self.ec2_backend.snapshots.values() if not ids or snapshot.id in ids])
    return old()


@around(EC2Response, "describe_instances", "describe_instance_status")
def describe_instances(old, self):
    if named(self, "InstanceIds"):
        ids = self._get_param("InstanceIds", [])
        asked([instance for instance in self.ec2_backend.all_instances() if not ids or instance.id in ids])
    return old()


def pass_through(instance, state):
    """Shows another state before the one that an instance is in already."""
    reached = instance._state
    if wait(instance, "instances", lambda: setattr(instance, "_state", reached)):
        instance._state = state


@around(InstanceBackend, "run_instances")
def run_instances(old, self, *args, **kwargs):
    reservation = old(*args, **kwargs)
    for instance in reservation.instances:
        pass_through(instance, InstanceState("pending", 0))
    return reservation


@around(Instance, "start")
def start(old, self):
    before = old()
    pass_through(self, InstanceState("pending", 0))
    return before


@around(Instance, "stop")
def stop(old, self):
    before = old()
    pass_through(self, InstanceState("stopping", 64))
    return before


@around(Instance, "terminate")
def terminate(old, self):
    if self._state.name in ("terminated", "shutting-down"):
        return InstanceState(self._state.name, self._state.code)
    before = old()
    pass_through(self, InstanceState("shutting-down", 32))
    return before
