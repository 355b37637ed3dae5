"""What a template's pods will carry beyond what it says: what the ServiceAccount plugin adds, and what we make of it.

A template has not met admission yet; judged as it stands, nearly every one would pass and nearly every pod fail.
"""

from collections.abc import Callable

import msgspec

from . import names, pods, volumes
from .finals import FinalContainer, FinalProjected, FinalSource, FinalSpec, FinalTemplate, FinalVolume
from .pods import ConfigMapSource, DownwardItem, DownwardSource, FieldRef, TokenSource
from .policy import Resolution

AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "*"
"""The name of the volume that the plugin will add: its last characters are random."""


def pod_spec(template: FinalTemplate, settled: Resolution) -> tuple[FinalSpec, bool]:
    """The spec with the volumes that admission will add, and whether the service account's own setting, which we do not
    look up, could change that.
    """
    spec, wanted = template.spec, settled.policy
    held = spec.volumes or ()
    carries_ours = any(volumes.is_ours(volume) for volume in held)
    says = spec.automount_service_account_token
    inject = wanted.inject and (
        says is not False or carries_ours or settled.decided_by["inject"] not in ("namespace", "defaults")
    )
    everyone = [container for _, container in spec.everyone()]
    lacking = {each.name for each in everyone if all(mount.mount_path != names.DEFAULT_PATH for mount in each.mounts)}
    comes = (says is not False and bool(lacking)) or any(map(pods.is_automounted, held))
    kept = comes and bool(lacking & set(wanted.skip_containers))
    at_default = wanted.mount_path == names.DEFAULT_PATH
    rewritten = inject and wanted.automount and comes and not kept
    added: list[FinalVolume] = []
    if inject:
        others = [each for each in everyone if each.name not in wanted.skip_containers]
        if (rewritten and at_default) or any(map(_lacks(wanted.mount_path), others)):
            name = AUTOMOUNTED if rewritten and at_default else names.VOLUME
            added.append(_api_access(name, wanted.audience, wanted.expiration_seconds))
        if any(map(_lacks(names.TOKENS_PATH), others)):
            added += [_further(each.file, each.audience, each.expiration_seconds) for each in wanted.tokens]
    if rewritten and not at_default:
        added.append(_api_access(AUTOMOUNTED, "", wanted.expiration_seconds))
    if kept or (comes and not inject and wanted.automount):
        added.append(_api_access(AUTOMOUNTED, "", names.YEAR_TRAP_SECONDS))
    ours_goes = inject or not wanted.automount
    stays = [each for each in held if not pods.is_automounted(each) and not (ours_goes and volumes.is_ours(each))]
    return msgspec.structs.replace(spec, volumes=(*stays, *added)), comes and says is None


def _lacks(path: str) -> Callable[[FinalContainer], bool]:
    """Whether a container has nothing there, so that admission will mount it."""
    return lambda container: (
        not (any(pods.same_path(mount.mount_path, path) for mount in container.mounts) or container.has_device_at(path))
    )


def _api_access(name: str, audience: str, seconds: int) -> FinalVolume:
    namespace = DownwardItem("namespace", FieldRef("metadata.namespace"))
    sources = (
        FinalSource(TokenSource(names.TOKEN_FILE, audience, seconds)),
        FinalSource(config_map=ConfigMapSource(names.ROOT_CA_CONFIGMAP)),
        FinalSource(downward_api=DownwardSource((namespace,))),
    )
    return FinalVolume(name, FinalProjected(sources))


def _further(file: str, audience: str, seconds: int | None) -> FinalVolume:
    return FinalVolume(names.TOKENS_VOLUME, FinalProjected((FinalSource(TokenSource(file, audience, seconds)),)))
