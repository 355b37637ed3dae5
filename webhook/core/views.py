"""Typed, read-only views of the fields of pods and workloads that mutation reads. They are never
written back.

The decoder skips all other fields, so a patch cannot lose a field that we do not know. Absent and
null mean the same everywhere.
"""

import re
from collections.abc import Iterator

import msgspec

from . import names

_OURS = re.compile(re.escape(names.VOLUME) + r"(-[0-9a-f]{8})?")
_OUR_TOKENS = re.compile(re.escape(names.TOKENS_VOLUME) + r"(-[0-9a-f]{8})?")
"""The names of our volumes. A hash follows if a foreign volume has the plain name."""


class View(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The base of all views: immutable, unknown fields skipped, names in camelCase on the wire."""


class User(View, frozen=True):
    """Who sent a request."""

    username: str = ""


class Owner(View, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool | None = None


class Metadata(View, frozen=True):
    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None

    @property
    def controller(self) -> Owner | None:
        """The owner that controls this object, if there is one."""
        for owner in self.owner_references or ():
            if owner.controller:
                return owner
        return None


class ManagedFields(View, frozen=True):
    """The fields of one manager, as server-side apply stores them."""

    operation: str = ""
    fields_v1: msgspec.Raw = msgspec.Raw(b"null")


class WorkloadMetadata(Metadata, frozen=True):
    managed_fields: tuple[ManagedFields, ...] | None = None


class TokenSource(View, frozen=True):
    path: str = ""
    audience: str | None = None
    expiration_seconds: int | None = None


class ConfigMapSource(View, frozen=True):
    name: str = ""


class FieldRef(View, frozen=True):
    field_path: str = ""


class DownwardItem(View, frozen=True):
    path: str = ""
    field_ref: FieldRef | None = None


class DownwardSource(View, frozen=True):
    items: tuple[DownwardItem, ...] | None = None


class Source(View, frozen=True):
    """One entry of `projected.sources`. All three are None for a source of any other kind."""

    service_account_token: TokenSource | None = None
    config_map: ConfigMapSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)


class Projected(View, frozen=True):
    sources: tuple[Source, ...] | None = None


class Volume(View, frozen=True):
    """One volume. Names and mount paths are required here and below: the API server writes them
    even if they are empty (core/v1 has no `omitempty` for them). Without them a short body could
    contain a huge number of empty objects.
    """

    name: str
    projected: Projected | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The projected sources; none for a volume of any other kind."""
        return (self.projected.sources or ()) if self.projected is not None else ()


class Mount(View, frozen=True):
    name: str
    mount_path: str


class Device(View, frozen=True):
    device_path: str = ""


class Container(View, frozen=True):
    name: str
    volume_mounts: tuple[Mount, ...] | None = None
    volume_devices: tuple[Device, ...] | None = None

    @property
    def mounts(self) -> tuple[Mount, ...]:
        return self.volume_mounts or ()

    def has_device_at(self, path: str) -> bool:
        """Whether a block device is at `path`. The API server accepts no mount there."""
        return any(same_path(device.device_path, path) for device in self.volume_devices or ())


class PodSpec(View, frozen=True):
    automount_service_account_token: bool | None = None
    volumes: tuple[Volume, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    containers: tuple[Container, ...] | None = None

    def all_containers(self) -> Iterator[tuple[str, Container]]:
        for number, container in enumerate(self.init_containers or ()):
            yield f"/spec/initContainers/{number}", container
        for number, container in enumerate(self.containers or ()):
            yield f"/spec/containers/{number}", container

    def mounted_by(self, container_names: frozenset[str]) -> frozenset[str]:
        """Return the volumes that the containers with these names mount."""
        containers = (*(self.init_containers or ()), *(self.containers or ()))
        return frozenset(
            mount.name
            for container in containers
            if container.name in container_names
            for mount in container.mounts
        )


class Pod(View, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations or {}

    def containers(self) -> Iterator[tuple[str, Container]]:
        """Every container that can get a mount at CREATE, with its pointer; init containers and
        sidecars first.
        """
        return self.spec.all_containers()


class Template(View, frozen=True):
    metadata: Metadata | None = None
    spec: PodSpec = PodSpec()


class WorkloadSpec(View, frozen=True):
    template: Template | None = None


class Workload(View, frozen=True):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job, with `/spec/template`."""

    metadata: WorkloadMetadata = WorkloadMetadata()
    spec: WorkloadSpec | None = None

    @property
    def template(self) -> tuple[str, Template | None]:
        """The pointer to the pod template, and the template or None."""
        return "/spec/template", self.spec.template if self.spec is not None else None


class JobTemplate(View, frozen=True):
    metadata: Metadata | None = None
    spec: WorkloadSpec | None = None


class CronJobSpec(View, frozen=True):
    job_template: JobTemplate | None = None


class CronJob(View, frozen=True):
    metadata: WorkloadMetadata = WorkloadMetadata()
    spec: CronJobSpec | None = None

    @property
    def job_annotations(self) -> dict[str, str] | None:
        """The annotations for its jobs. boundtoken does not read them on the jobs, because a job
        with an owner is skipped.
        """
        job = self.spec.job_template if self.spec is not None else None
        return job.metadata.annotations if job is not None and job.metadata is not None else None

    @property
    def template(self) -> tuple[str, Template | None]:
        """The pointer to the pod template of its jobs, and the template or None."""
        job = self.spec.job_template if self.spec is not None else None
        return (
            "/spec/jobTemplate/spec/template",
            job.spec.template if job is not None and job.spec is not None else None,
        )


def same_path(at: str, path: str) -> bool:
    """Whether a container runtime takes the mount path `at` for the directory `path`: it ignores
    extra slashes, `.`, and a missing first slash.

    The API server and the ServiceAccount plugin compare paths exactly. `path` is normalized, as
    `annotations.parse_mount_path` returns it: any other spelling is longer, or lacks the first
    slash.
    """
    if at == path or not len(path) - 1 <= len(at) <= names.MAX_PATH_BYTES:
        return at == path
    return "/" + "/".join(step for step in at.split("/") if step not in ("", ".")) == path


def is_automounted(volume: Volume) -> bool:
    """Whether the volume has the shape and name prefix of the ServiceAccount plugin's volume.

    Source: plugin/pkg/admission/serviceaccount TokenVolumeSource; further sources (OpenShift has
    one) are allowed.
    """
    name = volume.name
    return (
        name.startswith(names.AUTOMOUNTED_PREFIX)
        and len(name) <= names.MAX_VOLUME_NAME_CHARS
        and gives_api_access(volume)
    )


AS_THE_PLUGIN_ADDS_IT = Projected(
    (
        Source(TokenSource(names.TOKEN_FILE, None, names.YEAR_TRAP_SECONDS)),
        Source(config_map=ConfigMapSource(names.ROOT_CA_CONFIGMAP)),
        Source(
            downward_api=DownwardSource(
                (DownwardItem("namespace", FieldRef("metadata.namespace")),)
            )
        ),
    )
)


def gives_api_access(volume: Volume) -> bool:
    """Whether a projected volume has a token at `token`, `kube-root-ca.crt` and the namespace."""
    projected = volume.projected
    # Nearly every pod has this one, and one comparison takes a fraction of the time of the loop.
    if projected == AS_THE_PLUGIN_ADDS_IT:
        return True
    token = root_ca = namespace = False
    for source in (projected.sources or ()) if projected is not None else ():
        if (token_source := source.service_account_token) is not None:
            token = token or token_source.path == names.TOKEN_FILE
        elif (config_map := source.config_map) is not None:
            root_ca = root_ca or config_map.name == names.ROOT_CA_CONFIGMAP
        elif source.downward_api is not None:
            for item in source.downward_api.items or ():
                if item.path == "namespace" and (field := item.field_ref) is not None:
                    namespace = namespace or field.field_path == "metadata.namespace"
    return token and root_ca and namespace


def gives_only_tokens(volume: Volume) -> bool:
    """Whether a projected volume has service account tokens and nothing else."""
    return bool(volume.sources) and all(
        source.service_account_token is not None for source in volume.sources
    )


def is_ours(volume: Volume) -> bool:
    """Whether it is our main volume, by name and shape. A foreign volume `boundtoken` is not."""
    if volume.projected is None or not volume.name.startswith(names.VOLUME):
        return False
    return _OURS.fullmatch(volume.name) is not None and gives_api_access(volume)


def is_our_tokens(volume: Volume) -> bool:
    """Whether it is our second volume, with further tokens."""
    if volume.projected is None or not volume.name.startswith(names.TOKENS_VOLUME):
        return False
    return _OUR_TOKENS.fullmatch(volume.name) is not None and gives_only_tokens(volume)
