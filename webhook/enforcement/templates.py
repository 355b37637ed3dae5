"""Predict the volumes of a template's pods: the ServiceAccount plugin adds one, and mutation
changes it.

A template has not been through admission. Without this prediction nearly every template would
comply, and nearly every pod of it would not.
"""

import msgspec

from ..core import names, views
from ..core.full_views import FullProjected, FullSource, FullSpec, FullTemplate, FullVolume
from ..core.limits import Token
from ..core.policy import Resolution
from ..core.views import ConfigMapSource, DownwardItem, DownwardSource, FieldRef, TokenSource
from ..mutation import fates

AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "*"
"""The name of the volume that the plugin will add. Its last characters are random."""


WITH_REPLACE = frozenset({AUTOMOUNTED, names.VOLUME, names.TOKENS_VOLUME})
"""The volumes that a pod has only if the plugin adds its own, where `inject` is `replace`."""


def as_admitted(template: FullTemplate, resolution: Resolution) -> tuple[FullSpec, bool]:
    """Return the spec with the volumes that its pods will have after admission, and whether the
    setting of the service account, which boundtoken does not look up, could change that.
    """
    spec, policy = template.spec, resolution.policy
    volumes = spec.volumes or ()
    automounted = [volume for volume in volumes if views.is_automounted(volume)]
    ours = [volume for volume in volumes if views.is_ours(volume)]
    says = spec.automount_service_account_token
    # The plugin adds its volume for containers without a mount at exactly the default path.
    lacking = {
        container.name
        for _, container in spec.all_containers()
        if all(mount.mount_path != names.DEFAULT_PATH for mount in container.volume_mounts or ())
    }
    comes = (says is not False and bool(lacking)) or bool(automounted)
    inject = _injects(spec, resolution, comes=comes)
    skip = frozenset(policy.skip_containers)
    becomes = "removed"
    if comes and not skip.isdisjoint(lacking):
        becomes = "unchanged"  # a skipped container mounts it
    elif comes:
        case = inject, policy.automount, policy.mount_path == names.DEFAULT_PATH
        becomes = fates.of_automounted(case, has_ours=bool(ours)).becomes
    # Removed and renamed volumes are missing here: what replaces them is ours, and follows below.
    added: list[FullVolume] = []
    match becomes:
        case "unchanged":
            added.append(api_access(AUTOMOUNTED, "", names.YEAR_TRAP_SECONDS))
        case "shortened":
            added.append(api_access(AUTOMOUNTED, "", policy.expiration_seconds))
        case "rewritten":
            added.append(api_access(AUTOMOUNTED, policy.audience, policy.expiration_seconds))
    # A rewritten volume is the carrier itself, so no volume of ours is added beside it.
    comes_new = becomes != "rewritten" and (ours or _some_lack(policy.mount_path, spec, skip))
    if inject and (becomes == "renamed" or comes_new):
        added.append(api_access(names.VOLUME, policy.audience, policy.expiration_seconds))
    if inject and policy.tokens and _some_lack(names.TOKENS_PATH, spec, skip):
        added += [_further_token(token) for token in policy.tokens]
    # Volumes that mutation changes are in `added`. Ours stays only if mutation changes nothing.
    changed = [*automounted, *(ours if inject or not policy.automount else ())]
    # By identity, because two volumes can be equal and only one of them changes.
    gone = {id(volume) for volume in changed}
    stays = [volume for volume in volumes if id(volume) not in gone]
    return msgspec.structs.replace(spec, volumes=(*stays, *added)), comes and says is None


def _injects(spec: FullSpec, resolution: Resolution, *, comes: bool) -> bool:
    """Whether the pods are injected. `comes` says whether an automounted volume does."""
    policy = resolution.policy
    if policy.inject == "disabled":
        return False
    if any(
        views.is_ours(volume) or (bool(policy.tokens) and views.is_our_tokens(volume))
        for volume in spec.volumes or ()
    ):
        return True
    # Mutation reads `false` in the spec as an opt-out, unless the template asks for injection.
    by_author = resolution.decided_by["inject"] not in ("namespace", "defaults")
    says_no = spec.automount_service_account_token is False and not by_author
    return not says_no and (comes or policy.inject == "enabled")


def _some_lack(path: str, spec: FullSpec, skip: frozenset[str]) -> bool:
    """Whether mutation adds a mount at `path` to any container, because nothing is there."""
    return any(
        not (
            any(views.same_path(mount.mount_path, path) for mount in container.mounts)
            or container.has_device_at(path)
        )
        for _, container in spec.all_containers()
        if container.name not in skip
    )


def api_access(name: str, audience: str, seconds: int) -> FullVolume:
    """Return a volume with a token, the CA and the namespace, as the plugin and mutation add it."""
    namespace = DownwardItem("namespace", FieldRef("metadata.namespace"))
    sources = (
        FullSource(TokenSource(names.TOKEN_FILE, audience, seconds)),
        FullSource(config_map=ConfigMapSource(names.ROOT_CA_CONFIGMAP)),
        FullSource(downward_api=DownwardSource((namespace,))),
    )
    return FullVolume(name, FullProjected(sources))


def _further_token(token: Token) -> FullVolume:
    source = TokenSource(token.file, token.audience, token.expiration_seconds)
    return FullVolume(names.TOKENS_VOLUME, FullProjected((FullSource(source),)))
