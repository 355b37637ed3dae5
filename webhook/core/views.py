"""Typed, read-only views of the few fields of pods and workloads that decide anything; nothing here
is ever written back.

The decoder skips every other field, so unknown ones survive by construction. Absent and null mean
the same everywhere.
"""

import re
from collections.abc import Iterator

import msgspec

from . import names

_OURS = re.compile(re.escape(names.VOLUME) + r"(-[0-9a-f]{8})?")
_OUR_TOKENS = re.compile(re.escape(names.TOKENS_VOLUME) + r"(-[0-9a-f]{8})?")
"""Names of our volumes: where somebody else has one of them, a hash stands behind it."""


class View(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The base of all views: immutable, unknown fields skipped, names in camelCase on the wire."""


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
        """The owner that made this object and looks after it, if there is one."""
        for owner in self.owner_references or ():
            if owner.controller:
                return owner
        return None


class ManagedFields(View, frozen=True):
    """What one manager has written, as server-side apply keeps it."""

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
    """One entry of `projected.sources`; all three None for a kind that decides nothing here."""

    service_account_token: TokenSource | None = None
    config_map: ConfigMapSource | None = None
    downward_api: DownwardSource | None = msgspec.field(name="downwardAPI", default=None)


class Projected(View, frozen=True):
    sources: tuple[Source, ...] | None = None


class Volume(View, frozen=True):
    """One volume. Names and mount paths are required here and below: the API server writes them
    even where they are empty (core/v1 has no `omitempty` for them), and a body made of nothing at
    all is cheaper to make than to look at.
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
        """Whether a block device stands there: the API server takes no mount at its path."""
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


class Pod(View, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations or {}

    def containers(self) -> Iterator[tuple[str, Container]]:
        """Every container that can be given a mount at CREATE, init containers and sidecars first,
        with its pointer.
        """
        return self.spec.all_containers()


class Template(View, frozen=True):
    metadata: Metadata | None = None
    spec: PodSpec = PodSpec()


class WorkloadSpec(View, frozen=True):
    template: Template | None = None


class Workload(View, frozen=True):
    """A Deployment, StatefulSet, DaemonSet, ReplicaSet or Job: what carries a pod template at
    `/spec/template`.
    """

    metadata: WorkloadMetadata = WorkloadMetadata()
    spec: WorkloadSpec | None = None

    @property
    def template(self) -> tuple[str, Template | None]:
        """The pod template with its pointer; None where the object has none."""
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
        """What it writes on its jobs, which nobody reads there: a job with an owner is left to
        it.
        """
        job = self.spec.job_template if self.spec is not None else None
        return job.metadata.annotations if job is not None and job.metadata is not None else None

    @property
    def template(self) -> tuple[str, Template | None]:
        """The pod template of the jobs it makes, with its pointer."""
        job = self.spec.job_template if self.spec is not None else None
        return (
            "/spec/jobTemplate/spec/template",
            job.spec.template if job is not None and job.spec is not None else None,
        )


def same_path(at: str, path: str) -> bool:
    """Whether a mount path is the directory `path` to a runtime: needless slashes and `.` do not
    count, nor the first slash.

    The API server compares exactly, and so does the ServiceAccount plugin. `path` is one that
    `wishes.mount_path` gives: any other spelling of it is longer, or lacks the first slash.
    """
    if at == path or not len(path) - 1 <= len(at) <= names.MAX_PATH_BYTES:
        return at == path
    return "/" + "/".join(step for step in at.split("/") if step not in ("", ".")) == path


def is_automounted(volume: Volume) -> bool:
    """Whether the ServiceAccount plugin, or somebody who copied its work, put this volume here: by
    shape and prefix.

    Source: plugin/pkg/admission/serviceaccount TokenVolumeSource; further sources (OpenShift has
    one) are allowed.
    """
    name = volume.name
    return (
        name.startswith(names.AUTOMOUNTED_PREFIX)
        and len(name) <= names.MAX_VOLUME_NAME_CHARS
        and gives_api_access(volume)
    )


def gives_api_access(volume: Volume) -> bool:
    """Whether it is a projected volume with a token at `token`, `kube-root-ca.crt` and the
    namespace.
    """
    token = root_ca = namespace = False
    projected = volume.projected
    for source in (projected.sources or ()) if projected is not None else ():
        if (held := source.service_account_token) is not None:
            token = token or held.path == names.TOKEN_FILE
        elif (config_map := source.config_map) is not None:
            root_ca = root_ca or config_map.name == names.ROOT_CA_CONFIGMAP
        elif source.downward_api is not None:
            for item in source.downward_api.items or ():
                if item.path == "namespace" and (field := item.field_ref) is not None:
                    namespace = namespace or field.field_path == "metadata.namespace"
    return token and root_ca and namespace


def gives_only_tokens(volume: Volume) -> bool:
    """Whether it is a projected volume of service account tokens and nothing else."""
    return bool(volume.sources) and all(
        source.service_account_token is not None for source in volume.sources
    )


def is_ours(volume: Volume) -> bool:
    """Whether it is our main volume: by name and shape together, so that a foreign `boundtoken`
    stays foreign.
    """
    if volume.projected is None or not volume.name.startswith(names.VOLUME):
        return False
    return _OURS.fullmatch(volume.name) is not None and gives_api_access(volume)


def is_our_tokens(volume: Volume) -> bool:
    """Whether it is our second volume, of further tokens."""
    if volume.projected is None or not volume.name.startswith(names.TOKENS_VOLUME):
        return False
    return _OUR_TOKENS.fullmatch(volume.name) is not None and gives_only_tokens(volume)
