"""What moto 5.2 lacks of instances and their surroundings: see each function."""

import base64

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2.exceptions import (
    DependencyViolationError,
    EC2ClientError,
    InvalidAMIIdError,
    InvalidSecurityGroupNotFoundError,
)
from moto.ec2.models.instances import Instance, InstanceBackend, StateReason
from moto.ec2.models.security_groups import SecurityGroupBackend
from moto.ec2.models.spot_requests import SpotInstanceRequest, SpotRequestBackend
from moto.ec2.responses import EC2Response
from moto.ec2.utils import random_spot_request_id
from moto.sts.responses import TokenResponse

import slow  # noqa: F401  # its layer is under this one
from patch import added, around

#: What a test has machines say.
SAID = {}


def reset():
    SAID.clear()
    SAID.update(console="", password="", boots=0)


reset()


@around(InstanceBackend, "run_instances")
def run_instances(old, self, image_id, *args, **kwargs):
    """Refuses images and groups that are not there; the key's and the interfaces' part of a launch is done."""
    image = self.amis.get(image_id)
    if image is None and not kwargs.get("launch_template"):
        raise InvalidAMIIdError(image_id)
    if image is not None and image.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image '[{image_id}]' is {image.state}")
    nics = kwargs.get("nics", [])
    for group in [group for nic in nics for group in nic.get("Groups") or []]:
        if self.get_security_group_from_id(group) is None:
            raise InvalidSecurityGroupNotFoundError(group)
    tags = dict(kwargs.get("tags") or {})
    given = {nic.get("NetworkInterfaceId") for nic in nics}
    reservation = old(image_id, *args, **kwargs)
    for instance in reservation.instances:
        # Its public key is in the machine, whatever becomes of the key pair.
        pair = self.key_pairs.get(instance.key_name)
        instance.public_key = pair and pair.public_key
        for nic in instance.nics.values():
            nic.add_tags(tags.get("network-interface", {}))
            nic.delete_on_termination = nic.id not in given
        if kwargs.get("instance_market_options"):
            open_spot_request(self, instance, tags.get("spot-instances-request", {}))
    return reservation


def open_spot_request(backend, instance, tags):
    """A spot instance that RunInstances starts has a request, as one of RequestSpotInstances has."""
    request = SpotInstanceRequest.__new__(SpotInstanceRequest)
    request.ec2_backend, request.id, request.instance = backend, random_spot_request_id(), instance
    request.state, request._status_code, request.status_message = "active", "fulfilled", ""
    request.type, request.price, request.launch_specification = "one-time", None, None
    for name in ("valid_from", "valid_until", "launch_group", "availability_zone_group", "spot_fleet_id"):
        setattr(request, name, None)
    request.instance_interruption_behaviour = "terminate"
    backend.spot_instance_requests[request.id] = request
    instance.spot_instance_request_id = request.id
    request.add_tags(tags)


@around(Instance, "terminate")
def terminate(old, self):
    """Closes the spot request with its instance."""
    before = old()
    for request in self.ec2_backend.spot_instance_requests.values():
        if request.instance is self:
            request.state, request._status_code = "closed", "instance-terminated-by-user"
    return before


@around(EC2Response, "stop_instances")
def stop_instances(old, self):
    """Refuses spot instances, whose requests are for once."""
    for id in self._get_param("InstanceIds", []):
        if self.ec2_backend.get_instance(id).lifecycle == "spot":
            message = (
                f"You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request. "
                "You can only stop Spot Instances associated with persistent Spot Instance requests."
            )
            raise EC2ClientError("UnsupportedOperation", message)
    return old()


@around(EC2Response, "delete_launch_template")
def delete_launch_template(old, self):
    """Says of a name that is not there what AWS says."""
    name = self._get_param("LaunchTemplateName")
    if name and name not in self.ec2_backend.launch_template_name_to_ids:
        message = f"The specified launch template, with template name {name}, does not exist."
        raise EC2ClientError("InvalidLaunchTemplateName.NotFoundException", message)
    return old()


@around(SpotRequestBackend, "cancel_spot_instance_requests")
def cancel_spot_instance_requests(old, self, request_ids):
    missing = [id for id in request_ids if id not in self.spot_instance_requests]
    if missing:
        message = f"The spot instance request ID '{missing[0]}' does not exist"
        raise EC2ClientError("InvalidSpotInstanceRequestID.NotFound", message)
    return old(request_ids)


@around(SecurityGroupBackend, "delete_security_group")
def delete_security_group(old, self, name=None, group_id=None):
    """Refuses a group that a machine is in."""
    for instance in self.all_instances():
        groups = list(instance.security_groups) + [group for nic in instance.nics.values() for group in nic.group_set]
        if instance.state != "terminated" and any(group_id == group.id or name == group.name for group in groups):
            raise DependencyViolationError(f"resource {group_id or name} has a dependent object")
    return old(name=name, group_id=group_id)


def end(instance_id, state, code, message):
    """Ends an instance as AWS itself does, for a reason of its own."""
    from moto.ec2.models import ec2_backends

    for regions in ec2_backends.values():
        for backend in regions.values():
            instance = backend.get_instance_by_id(instance_id)
            if instance is None:
                continue
            if state == "terminated":
                instance.terminate()
            else:
                instance.stop()
            instance.state_reason = StateReason(f"{code}: {message}", code)
            instance._reason = f"{code} ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
            return
    raise KeyError(instance_id)


@around(EC2Response, "get_console_output")
def get_console_output(old, self):
    """Shows what the test has set."""
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    output = Base64EncodedString.from_raw_string(SAID["console"])
    return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})


@around(EC2Response, "get_password_data")
def get_password_data(old, self):
    """Encrypts the test's password with the instance's key; there is none until the test has set one, and at first."""
    instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
    data = ""
    SAID["boots"] -= 1
    if SAID["boots"] < 0 and SAID["password"] and instance.public_key:
        key = load_ssh_public_key(instance.public_key.encode())
        data = base64.b64encode(key.encrypt(SAID["password"].encode(), PKCS1v15())).decode()
    return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "PasswordData": data})


@added(TokenResponse)
def decode_authorization_message(self):
    """Decodes what `faults.denied` encoded."""
    return ActionResult({"DecodedMessage": base64.urlsafe_b64decode(self._get_param("EncodedMessage")).decode()})
