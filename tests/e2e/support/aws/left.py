"""What is there, in all regions that were used."""

#: Things of the test's own carry this tag.
KEPT = "test:keep"


def backends():
    from moto.ec2.models import ec2_backends

    return [(region, backend) for regions in ec2_backends.values() for region, backend in regions.items()]


def left():
    """Returns what costs or clutters: all things a build starts, and images, snapshots and volumes that rimg tagged."""
    found = []
    for region, backend in backends():

        def note(kind, thing, name="", id=None):
            if KEPT not in backend.tags.get(id or thing.id, {}):
                found.append(f"{region} {kind} {id or thing.id} {name}".strip())

        def tagged(things):
            return [thing for thing in things.values() if "rimg:run" in backend.tags.get(thing.id, {})]

        for instance in backend.all_instances():
            if instance.state != "terminated":
                note("instance", instance, instance.state)
        for pair in backend.key_pairs.values():
            note("key-pair", pair, pair.key_name)
        for group in [group for groups in backend.groups.values() for group in groups.values()]:
            if group.name != "default":
                note("security-group", group, group.name)
        for request in backend.spot_instance_requests.values():
            if request.state in ("open", "active"):
                note("spot-request", request)
        for template in backend.launch_templates.values():
            note("launch-template", template, template.name)
        for interface in tagged(backend.enis):
            note("network-interface", interface)
        for image in tagged(backend.amis):
            note("image", image, image.name)
        for snapshot in tagged(backend.snapshots):
            note("snapshot", snapshot)
        for volume in tagged(backend.volumes):
            note("volume", volume)
    return found + sessions() + identities()


def sessions():
    from gaps_sessions import SESSIONS

    return [f"{session['region']} session {id}" for id, session in SESSIONS.items()]


def identities():
    from moto.iam.models import iam_backends

    found = []
    for partitions in iam_backends.values():
        for backend in partitions.values():
            found += [f"iam role {role.name}" for role in backend.roles.values()]
            found += [f"iam instance-profile {profile.name}" for profile in backend.instance_profiles.values()]
    return found


def keys():
    """Returns the public keys that the machines which run let in."""
    instances = [instance for _, backend in backends() for instance in backend.all_instances()]
    keys = [getattr(instance, "public_key", None) for instance in instances if instance.state in ("pending", "running")]
    return [key.strip() for key in keys if key]
