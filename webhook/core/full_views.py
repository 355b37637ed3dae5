"""Typed, read-only views of the objects that enforcement validates: pods with every field that can
provide a token, templates, TokenRequests, Secrets, namespaces and ConfigMaps.

They are separate from `views`, because mutation must not pay for fields that only enforcement
reads.
"""

from collections.abc import Iterator

import msgspec

from . import names
from .views import Container, Metadata, Mount, Projected, Source, TokenSource, View, Volume


class SecretRef(View, frozen=True):
    name: str = ""


class EnvSource(View, frozen=True):
    secret_key_ref: SecretRef | None = None


class Env(View, frozen=True):
    value_from: EnvSource | None = None


class EnvFrom(View, frozen=True):
    secret_ref: SecretRef | None = None


class SecretVolume(View, frozen=True):
    secret_name: str = ""


class FullSource(Source, frozen=True):
    secret: SecretRef | None = None


class FullProjected(Projected, frozen=True):
    sources: tuple[FullSource, ...] | None = None


class SecretUser(View, frozen=True):
    """A volume whose driver reads a Secret: CSI, Azure Files and the in-tree drivers."""

    secret_name: str = ""
    secret_ref: SecretRef | None = None
    node_publish_secret_ref: SecretRef | None = None


class FullVolume(Volume, frozen=True):
    projected: FullProjected | None = None
    secret: SecretVolume | None = None
    azure_file: SecretUser | None = None
    cephfs: SecretUser | None = None
    cinder: SecretUser | None = None
    csi: SecretUser | None = None
    flex_volume: SecretUser | None = None
    iscsi: SecretUser | None = None
    rbd: SecretUser | None = None
    scale_io: SecretUser | None = msgspec.field(name="scaleIO", default=None)
    storageos: SecretUser | None = None

    @property
    def full_sources(self) -> tuple[FullSource, ...]:
        return (self.projected.sources or ()) if self.projected is not None else ()

    @property
    def secrets(self) -> list[tuple[str, str]]:
        """Every Secret that the volume uses: the field that names it, and its name.

        Source: pkg/api/v1/pod VisitPodSecretNames
        """
        found: list[tuple[str, str]] = []
        if self.secret is not None:
            found.append(("spec.volumes.secret.secretName", self.secret.secret_name))
        if self.projected is not None:
            sources = [
                source.secret.name for source in self.full_sources if source.secret is not None
            ]
            found += [("spec.volumes.projected.sources.secret.name", name) for name in sources]
        if self.azure_file is not None:
            found.append(("spec.volumes.azureFile.secretName", self.azure_file.secret_name))
        if self.csi is not None and self.csi.node_publish_secret_ref is not None:
            found.append(
                (
                    "spec.volumes.csi.nodePublishSecretRef.name",
                    self.csi.node_publish_secret_ref.name,
                )
            )
        users = (
            self.cephfs,
            self.cinder,
            self.flex_volume,
            self.iscsi,
            self.rbd,
            self.scale_io,
            self.storageos,
        )
        # Almost no volume has one of these kinds, and one comparison is faster than seven.
        if users != _NO_USERS:
            for field, user in zip(_SECRET_REFS, users, strict=True):
                if user is not None and user.secret_ref is not None:
                    found.append((field, user.secret_ref.name))
        return found

    @property
    def tokens(self) -> Iterator[TokenSource]:
        """The service account tokens in the volume."""
        return (
            source.service_account_token
            for source in self.full_sources
            if source.service_account_token is not None
        )


WITH_SECRET_REF = ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos")
"""The kinds of volumes that have a `secretRef`."""
_SECRET_REFS = tuple(f"spec.volumes.{kind}.secretRef.name" for kind in WITH_SECRET_REF)
_NO_USERS = (None,) * len(WITH_SECRET_REF)


class FullMount(Mount, frozen=True):
    read_only: bool | None = None
    sub_path: str | None = None
    sub_path_expr: str | None = None


class FullContainer(Container, frozen=True):
    volume_mounts: tuple[FullMount, ...] | None = None
    env: tuple[Env, ...] | None = None
    env_from: tuple[EnvFrom, ...] | None = None


class FullSpec(View, frozen=True):
    automount_service_account_token: bool | None = None
    service_account_name: str | None = None
    runtime_class_name: str | None = None
    volumes: tuple[FullVolume, ...] | None = None
    init_containers: tuple[FullContainer, ...] | None = None
    containers: tuple[FullContainer, ...] | None = None
    ephemeral_containers: tuple[FullContainer, ...] | None = None

    def all_containers(self) -> Iterator[tuple[str, FullContainer]]:
        """Yield every container of every kind, with its field."""
        for container in self.init_containers or ():
            yield "initContainers", container
        for container in self.containers or ():
            yield "containers", container
        for container in self.ephemeral_containers or ():
            yield "ephemeralContainers", container


class FullPod(View, frozen=True):
    metadata: Metadata = Metadata()
    spec: FullSpec = FullSpec()


class FullTemplate(View, frozen=True):
    metadata: Metadata | None = None
    spec: FullSpec = FullSpec()


class _WorkloadSpec(View, frozen=True):
    template: FullTemplate | None = None


class _JobTemplate(View, frozen=True):
    spec: _WorkloadSpec | None = None


class _Spec(View, frozen=True):
    template: FullTemplate | None = None
    job_template: _JobTemplate | None = None


class FullWorkload(View, frozen=True):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob."""

    metadata: Metadata = Metadata()
    spec: _Spec | None = None

    @property
    def template(self) -> FullTemplate | None:
        if self.spec is None:
            return None
        job = self.spec.job_template
        return job.spec.template if job is not None and job.spec is not None else self.spec.template


_NONE = msgspec.Raw(b"null")
MAX_LIST_BYTES = 64 << 10
"""Of a list of audiences or groups. Decoding a list of millions would take twenty times its length
in memory."""
TOO_MANY = "(too many)"
"""Stands for the audiences of a longer list."""


def _strings(text: msgspec.Raw, too_long: tuple[str, ...]) -> tuple[str, ...]:
    if len(memoryview(text)) > MAX_LIST_BYTES:
        return too_long
    return msgspec.json.decode(text, type=tuple[str, ...] | None) or ()


class BoundObject(View, frozen=True):
    kind: str = ""


class TokenRequestSpec(View, frozen=True):
    audience_list: msgspec.Raw = msgspec.field(name="audiences", default=_NONE)
    expiration_seconds: int | None = None
    bound_object_ref: BoundObject | None = None

    @property
    def audiences(self) -> tuple[str, ...]:
        """The requested audiences. A list that is too long is not read, and is never allowed."""
        return _strings(self.audience_list, (TOO_MANY,))


class TokenRequest(View, frozen=True):
    metadata: Metadata = Metadata()
    spec: TokenRequestSpec = TokenRequestSpec()


class Secret(View, frozen=True):
    metadata: Metadata = Metadata()
    type: str = ""


class NamespaceMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class Namespace(View, frozen=True):
    metadata: NamespaceMetadata = NamespaceMetadata()


class ConfigData(View, frozen=True):
    """The one key that is read of a ConfigMap."""

    configuration: str | None = msgspec.field(name=names.CONFIG_KEY, default=None)


class ConfigMap(View, frozen=True):
    metadata: Metadata = Metadata()
    data: ConfigData | None = None


class UserInfo(View, frozen=True):
    username: str = ""
    group_list: msgspec.Raw = msgspec.field(name="groups", default=_NONE)

    @property
    def groups(self) -> tuple[str, ...]:
        """The user's groups. A list that is too long counts as empty, which exempts nobody."""
        return _strings(self.group_list, ())


Validated = FullPod | FullWorkload | TokenRequest | Secret | Namespace | ConfigMap


def added_by_update(pod: FullPod, old: FullPod) -> FullPod:
    """Return what an update of `pods/ephemeralcontainers` adds: the new containers, and the volumes
    that they mount.

    Why not the whole pod: `kubectl debug` must work on a pod that was created before enforcement
    began, and only the tokens that the new container can read are new.
    """
    known = {container.name for container in old.spec.ephemeral_containers or ()}
    new = tuple(
        container
        for container in pod.spec.ephemeral_containers or ()
        if container.name not in known
    )
    reached = {mount.name for container in new for mount in container.mounts}
    volumes = tuple(volume for volume in pod.spec.volumes or () if volume.name in reached)
    spec = msgspec.structs.replace(
        pod.spec, volumes=volumes, init_containers=(), containers=(), ephemeral_containers=new
    )
    return msgspec.structs.replace(pod, spec=spec)
