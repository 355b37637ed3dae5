"""What a template's pods will carry beyond what it says: what the ServiceAccount plugin adds, and
what we make of it.

A template has not met admission yet; judged as it stands, nearly every one would pass and nearly
every pod fail.
"""

import msgspec

from ..core import names, views
from ..core.full_views import FullProjected, FullSource, FullSpec, FullTemplate, FullVolume
from ..core.policy import Resolution
from ..core.views import ConfigMapSource, DownwardItem, DownwardSource, FieldRef, TokenSource

AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "*"
"""The name of the volume that the plugin will add: its last characters are random."""


def as_admitted(template: FullTemplate, settled: Resolution) -> tuple[FullSpec, bool]:
    """The spec with the volumes that admission will add, and whether the service account's own
    setting, which we do not look up, could change that.
    """
    spec, wanted = template.spec, settled.policy
    held = spec.volumes or ()
    automounted = [volume for volume in held if views.is_automounted(volume)]
    ours = [volume for volume in held if views.is_ours(volume)]
    says = spec.automount_service_account_token
    inject = wanted.inject and (
        says is not False
        or bool(ours)
        or settled.decided_by["inject"] not in ("namespace", "defaults")
    )
    lacking = {
        container.name
        for _, container in spec.all_containers()
        if not container.volume_mounts
        or all(mount.mount_path != names.DEFAULT_PATH for mount in container.volume_mounts)
    }
    comes = (says is not False and bool(lacking)) or bool(automounted)
    skip = frozenset(wanted.skip_containers)
    kept = comes and not skip.isdisjoint(lacking)
    at_default = wanted.mount_path == names.DEFAULT_PATH
    rewritten = inject and wanted.automount and comes and not kept
    added: list[FullVolume] = []
    if inject:
        if (rewritten and at_default) or _some_lack(wanted.mount_path, spec, skip):
            name = AUTOMOUNTED if rewritten and at_default else names.VOLUME
            added.append(_api_access(name, wanted.audience, wanted.expiration_seconds))
        if wanted.tokens and _some_lack(names.TOKENS_PATH, spec, skip):
            added += [
                _further(each.file, each.audience, each.expiration_seconds)
                for each in wanted.tokens
            ]
    if rewritten and not at_default:
        added.append(_api_access(AUTOMOUNTED, "", wanted.expiration_seconds))
    if kept or (comes and not inject and wanted.automount):
        added.append(_api_access(AUTOMOUNTED, "", names.YEAR_TRAP_SECONDS))
    goes = {
        id(each) for each in (automounted + ours if inject or not wanted.automount else automounted)
    }
    stays = [each for each in held if id(each) not in goes] if goes else held
    return msgspec.structs.replace(spec, volumes=(*stays, *added)), comes and says is None


def _some_lack(path: str, spec: FullSpec, skip: frozenset[str]) -> bool:
    """Whether a container that is not skipped has nothing there, so that admission will mount
    it.
    """
    return any(
        not (
            any(views.same_path(mount.mount_path, path) for mount in each.mounts)
            or each.has_device_at(path)
        )
        for _, each in spec.all_containers()
        if each.name not in skip
    )


def _api_access(name: str, audience: str, seconds: int) -> FullVolume:
    namespace = DownwardItem("namespace", FieldRef("metadata.namespace"))
    sources = (
        FullSource(TokenSource(names.TOKEN_FILE, audience, seconds)),
        FullSource(config_map=ConfigMapSource(names.ROOT_CA_CONFIGMAP)),
        FullSource(downward_api=DownwardSource((namespace,))),
    )
    return FullVolume(name, FullProjected(sources))


def _further(file: str, audience: str, seconds: int | None) -> FullVolume:
    return FullVolume(
        names.TOKENS_VOLUME, FullProjected((FullSource(TokenSource(file, audience, seconds)),))
    )
