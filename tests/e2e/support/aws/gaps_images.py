"""What moto 5.2 lacks of images: see each function."""

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models.amis import Ami, AmiBackend
from moto.ec2.responses import EC2Response
from moto.ec2.utils import convert_tag_spec

import slow  # noqa: F401  # its layer is under this one
from patch import added, around

#: What DescribeImages shows of an image.
Ami.deprecation_time = None
Ami.deregistration_protection = "disabled"
Ami.imds_support = None
Ami.tpm_support = None
Ami.ena_support = True
mappings_of = Ami.block_device_mappings.fget


def block_device_mappings(image):
    """Shows the encryption of an image's snapshot, as well."""
    mappings = mappings_of(image)
    for mapping in mappings:
        mapping["Ebs"]["Encrypted"] = image.ebs_snapshot.encrypted
        mapping["Ebs"]["KmsKeyId"] = image.ebs_snapshot.kms_key_id
    return mappings


Ami.block_device_mappings = property(block_device_mappings)


@around(AmiBackend, "describe_images")
def describe_images(old, self, ami_ids=None, **kwargs):
    """Refuses ids that are gone, too."""
    missing = [id for id in ami_ids or [] if id.startswith("ami-") and id not in self.amis]
    if missing:
        raise InvalidAMIIdError(missing)
    return old(ami_ids=ami_ids, **kwargs)


def refuse_taken(backend, name):
    """An account has a name once in a region."""
    for image in backend.amis.values():
        if image.name == name and image.owner_id == backend.account_id:
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {name} is already in use by AMI {image.id}")


def tag(image, tags):
    image.add_tags(tags.get("image", {}))
    image.ebs_snapshot.add_tags(tags.get("snapshot", {}))


@around(AmiBackend, "create_image")
def create_image(old, self, instance_id, name, description, tag_specifications):
    """Tags snapshots at their creation, and refuses instances that are over."""
    refuse_taken(self, name)
    state = self.get_instance(instance_id).state
    if state not in ("running", "stopping", "stopped"):
        raise EC2ClientError("IncorrectState", f"The instance '{instance_id}' is '{state}', not 'running' or 'stopped'.")
    image = old(instance_id, name, description, [])
    tag(image, convert_tag_spec(tag_specifications))
    return image


@around(EC2Response, "copy_image")
def copy_image(old, self):
    """Minds encryption, tags and the state of the source."""
    from moto.ec2.models import ec2_backends

    backend, region = self.ec2_backend, self._get_param("SourceRegion")
    refuse_taken(backend, self._get_param("Name"))
    source = ec2_backends[self.current_account][region].describe_images(ami_ids=[self._get_param("SourceImageId")])[0]
    if source.state != "available":
        raise EC2ClientError("InvalidAMIID.Unavailable", f"The image '[{source.id}]' is {source.state}")
    result = old()
    image = backend.amis[result.result["ImageId"]]
    key = self._get_param("KmsKeyId")
    snapshot = image.ebs_snapshot
    snapshot.encrypted = bool(self._get_param("Encrypted")) or source.ebs_snapshot.encrypted
    snapshot.kms_key_id = key or (f"arn:aws:kms:{backend.region_name}:{backend.account_id}:alias/aws/ebs" if snapshot.encrypted else None)
    snapshot.description = (
        f"Copied for DestinationAmi {image.id} from SourceAmi {source.id} for SourceSnapshot {source.ebs_snapshot.id}."
    )
    for name in ("root_device_name", "boot_mode", "imds_support", "tpm_support", "ena_support"):
        setattr(image, name, getattr(source, name))
    if self._get_param("CopyImageTags"):
        image.add_tags({pair["key"]: pair["value"] for pair in source.get_tags()})
    tag(image, self._parse_tag_specification())
    return result


@around(EC2Response, "register_image")
def register_image(old, self):
    """Takes the snapshot, the root device and the tags that it is given."""
    backend = self.ec2_backend
    refuse_taken(backend, self._get_param("Name"))
    mappings = self._get_param("BlockDeviceMappings", [])
    ids = [mapping["Ebs"]["SnapshotId"] for mapping in mappings if "SnapshotId" in mapping.get("Ebs", {})]
    snapshots = [backend.get_snapshot(id) for id in ids]
    result = old()
    image = backend.amis[result.result["ImageId"]]
    if snapshots:
        backend.snapshots.pop(image.ebs_snapshot.id)
        image.ebs_snapshot = snapshots[0]
        image.ebs_snapshot.from_ami = image.id
    named = {
        "root_device_name": "RootDeviceName",
        "architecture": "Architecture",
        "virtualization_type": "VirtualizationType",
        "boot_mode": "BootMode",
        "tpm_support": "TpmSupport",
        "imds_support": "ImdsSupport",
        "ena_support": "EnaSupport",
    }
    for name, parameter in named.items():
        setattr(image, name, self._get_param(parameter, getattr(image, name)))
    tag(image, self._parse_tag_specification())
    return result


@around(EC2Response, "modify_image_attribute")
def modify_image_attribute(old, self):
    """Changes the description and ImdsSupport, which moto ignores."""
    result = old()
    image = self.ec2_backend.amis[self._get_param("ImageId")]
    description, imds = self._get_param("Description.Value"), self._get_param("ImdsSupport.Value")
    image.description = image.description if description is None else description
    image.imds_support = image.imds_support if imds is None else imds
    return result


@around(EC2Response, "deregister_image")
def deregister_image(old, self):
    """Refuses what is protected, and deletes the snapshots when it is asked to."""
    image = self.ec2_backend.describe_images(ami_ids=[self._get_param("ImageId")])[0]
    if image.deregistration_protection != "disabled":
        raise EC2ClientError("OperationNotPermitted", f"The image '{image.id}' is protected from deregistration.")
    old()
    result = {"Return": True}
    if self._get_param("DeleteAssociatedSnapshots"):
        snapshot = self.ec2_backend.delete_snapshot(image.ebs_snapshot.id)
        result["DeleteSnapshotResults"] = [{"SnapshotId": snapshot.id, "ReturnCode": "success"}]
    return ActionResult(result)


def own_image(response):
    response.error_on_dryrun()
    return response.ec2_backend.describe_images(ami_ids=[response._get_param("ImageId")])[0]


@added(EC2Response)
def enable_image_deprecation(self):
    at = self._get_param("DeprecateAt")
    own_image(self).deprecation_time = at if isinstance(at, str) else at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return ActionResult({"Return": True})


@added(EC2Response)
def disable_image_deprecation(self):
    own_image(self).deprecation_time = None
    return ActionResult({"Return": True})


@added(EC2Response)
def enable_image_deregistration_protection(self):
    cooldown = "with" if self._get_param("WithCooldown") else "without"
    own_image(self).deregistration_protection = f"enabled-{cooldown}-cooldown"
    return ActionResult({"Return": "true"})


@added(EC2Response)
def disable_image_deregistration_protection(self):
    own_image(self).deregistration_protection = "disabled"
    return ActionResult({"Return": "true"})


@added(EC2Response)
def enable_fast_launch(self):
    image = own_image(self)
    image.fast_launch = {
        "ImageId": image.id,
        "ResourceType": self._get_param("ResourceType", "snapshot"),
        "SnapshotConfiguration": self._get_param("SnapshotConfiguration", {"TargetResourceCount": 5}),
        "LaunchTemplate": self._get_param("LaunchTemplate"),
        "MaxParallelLaunches": self._get_param("MaxParallelLaunches", 6),
        "OwnerId": image.owner_id,
        "State": "enabling",
    }
    return ActionResult(image.fast_launch)


@added(EC2Response)
def disable_fast_launch(self):
    image = own_image(self)
    answer = getattr(image, "fast_launch", {"ImageId": image.id}) | {"State": "disabling"}
    image.fast_launch = None
    return ActionResult(answer)


@added(EC2Response)
def describe_fast_launch_images(self):
    ids = self._get_param("ImageIds", [])
    images = [image for image in self.ec2_backend.amis.values() if getattr(image, "fast_launch", None)]
    found = [image.fast_launch | {"State": "enabled"} for image in images if not ids or image.id in ids]
    return ActionResult({"FastLaunchImages": found})
