"""What a template's pods will carry beyond what it says: what the ServiceAccount plugin adds, and
what we make of it.

A template has not been through admission: evaluated as it stands, nearly every one would pass and
nearly every pod fail.
"""

import msgspec

from ..core import names, views
from ..core.full_views import FullProjected, FullSource, FullSpec, FullTemplate, FullVolume
from ..core.limits import Token
from ..core.policy import Resolution
from ..core.views import ConfigMapSource, DownwardItem, DownwardSource, FieldRef, TokenSource
from ..mutation import fates

AUTOMOUNTED = names.AUTOMOUNTED_PREFIX + "*"
"""The name of the volume that the plugin will add: its last characters are random."""


def as_admitted(template: FullTemplate, resolution: Resolution) -> tuple[FullSpec, bool]:
    """The spec with the volumes that admission will leave in its pods, and whether the service
    account's own setting, which boundtoken does not look up, could change that.
    """
    spec, policy = template.spec, resolution.policy
    volumes = spec.volumes or ()
    automounted = [volume for volume in volumes if views.is_automounted(volume)]
    ours = [volume for volume in volumes if views.is_ours(volume)]
    says = spec.automount_service_account_token
    # `false` in the spec asks for no token, as mutation reads it: unless a volume of ours is there,
    # or the template itself asks for injection.
    by_author = resolution.decided_by["inject"] not in ("namespace", "defaults")
    inject = policy.inject and (says is not False or bool(ours) or by_author)
    # The plugin mounts its volume where nothing is mounted at exactly the default path.
    lacking = {
        container.name
        for _, container in spec.all_containers()
        if all(mount.mount_path != names.DEFAULT_PATH for mount in container.volume_mounts or ())
    }
    comes = (says is not False and bool(lacking)) or bool(automounted)
    skip = frozenset(policy.skip_containers)
    becomes = "removed"
    if comes and not skip.isdisjoint(lacking):
        becomes = "unchanged"  # a skipped container mounts it
    elif comes:
        becomes = fates.of_automounted(
            inject=inject,
            automount=policy.automount,
            at_default=policy.mount_path == names.DEFAULT_PATH,
            has_ours=bool(ours),
        ).becomes
    added: list[FullVolume] = []
    match becomes:
        case "unchanged":
            added.append(_api_access(AUTOMOUNTED, "", names.YEAR_TRAP_SECONDS))
        case "shortened":
            added.append(_api_access(AUTOMOUNTED, "", policy.expiration_seconds))
        case "rewritten":
            added.append(_api_access(AUTOMOUNTED, policy.audience, policy.expiration_seconds))
    comes_new = becomes != "rewritten" and (ours or _some_lack(policy.mount_path, spec, skip))
    if inject and (becomes == "renamed" or comes_new):
        added.append(_api_access(names.VOLUME, policy.audience, policy.expiration_seconds))
    if inject and policy.tokens and _some_lack(names.TOKENS_PATH, spec, skip):
        added += [_further_token(token) for token in policy.tokens]
    # What mutation changes is in `added`; ours stays only where mutation has nothing to do.
    changed = [*automounted, *(ours if inject or not policy.automount else ())]
    gone = {id(volume) for volume in changed}
    stays = [volume for volume in volumes if id(volume) not in gone]
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


def _further_token(token: Token) -> FullVolume:
    source = TokenSource(token.file, token.audience, token.expiration_seconds)
    return FullVolume(names.TOKENS_VOLUME, FullProjected((FullSource(source),)))
