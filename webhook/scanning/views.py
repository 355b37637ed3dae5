"""Objects as a scan reads them: what the webhook reads of pods and templates, and little else. Of
Secrets only metadata.
"""

import msgspec

from ..core.full_views import (
    Env,
    EnvSource,
    FullContainer,
    FullPod,
    FullProjected,
    FullSource,
    FullSpec,
    FullVolume,
    SecretRef,
    SecretUser,
    SecretVolume,
)
from ..core.views import Metadata, Owner, View
from ..enforcement import preview
from ..simulation import living

ACCOUNT = "kubernetes.io/service-account.name"  # core/v1 ServiceAccountNameKey
LAST_USED = "kubernetes.io/legacy-token-last-used"
"""A date; the API server writes it at most once a day (pkg/serviceaccount, LastUsedLabelKey)."""


class Csi(SecretUser, frozen=True):
    driver: str = ""


class Item(View, frozen=True):
    """A key of a Secret, and the file that it is written to."""

    key: str = ""
    path: str = ""


class SecretItems(SecretVolume, frozen=True):
    items: tuple[Item, ...] | None = None


class ProjectedSecret(SecretRef, frozen=True):
    items: tuple[Item, ...] | None = None


class VolumeSource(FullSource, frozen=True):
    secret: ProjectedSecret | None = None


class ProjectedVolume(FullProjected, frozen=True):
    sources: tuple[VolumeSource, ...] | None = None


class Volume(FullVolume, frozen=True):
    projected: ProjectedVolume | None = None
    secret: SecretItems | None = None
    csi: Csi | None = None


class SecretKey(SecretRef, frozen=True):
    key: str = ""


class VariableSource(EnvSource, frozen=True):
    secret_key_ref: SecretKey | None = None


class Variable(Env, frozen=True):
    value_from: VariableSource | None = None


class Container(FullContainer, frozen=True):
    env: tuple[Variable, ...] | None = None


class Spec(FullSpec, frozen=True):
    volumes: tuple[Volume, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    containers: tuple[Container, ...] | None = None
    ephemeral_containers: tuple[Container, ...] | None = None
    node_name: str | None = None


class ScannedOwner(Owner, frozen=True):
    api_version: str = ""


class ScannedMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None
    deletion_timestamp: str | None = None
    owner_references: tuple[ScannedOwner, ...] | None = None

    @property
    def controller(self) -> ScannedOwner | None:
        return next((one for one in self.owner_references or () if one.controller), None)


class Status(View, frozen=True):
    phase: str = ""


class Pod(View, frozen=True):
    """A living pod, or one of a manifest."""

    metadata: ScannedMetadata = ScannedMetadata()
    spec: Spec = Spec()
    status: Status = Status()

    @property
    def has_ended(self) -> bool:
        """Whether it never runs again, so that its tokens are used by nobody."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def as_full(self) -> FullPod:
        """The pod as enforcement reads it."""
        return FullPod(self.metadata, self.spec)


class Template(View, frozen=True):
    metadata: ScannedMetadata | None = None
    spec: Spec = Spec()


class JobSpec(View, frozen=True):
    template: Template | None = None


class JobTemplate(View, frozen=True):
    metadata: ScannedMetadata | None = None
    spec: JobSpec | None = None


class RollingUpdate(View, frozen=True):
    partition: int | None = None


class UpdateStrategy(View, frozen=True):
    type: str = ""
    rolling_update: RollingUpdate | None = None


class WorkloadSpec(View, frozen=True):
    template: Template | None = None
    job_template: JobTemplate | None = None
    paused: bool | None = None
    update_strategy: UpdateStrategy | None = None


class Condition(View, frozen=True):
    type: str = ""
    status: str = ""


class WorkloadStatus(View, frozen=True):
    conditions: tuple[Condition, ...] | None = None


class Workload(View, frozen=True):
    """An object with a pod template, as far as both webhooks read it."""

    metadata: ScannedMetadata = ScannedMetadata()
    spec: WorkloadSpec | None = None
    status: WorkloadStatus | None = None


class Namespace(View, frozen=True):
    metadata: ScannedMetadata = ScannedMetadata()


class ServiceAccount(View, frozen=True):
    metadata: Metadata = Metadata()
    automount_service_account_token: bool | None = None
    secrets: tuple[SecretRef, ...] | None = None


class SecretAnnotations(View, frozen=True):
    """The one annotation that is read: another one may have the whole Secret (kubectl apply)."""

    account: str = msgspec.field(name=ACCOUNT, default="")


class SecretLabels(View, frozen=True):
    last_used: str = msgspec.field(name=LAST_USED, default="")


class SecretMetadata(View, frozen=True):
    name: str = ""
    namespace: str = ""
    annotations: SecretAnnotations | None = None
    labels: SecretLabels | None = None


class Secret(View, frozen=True):
    """The metadata of a legacy token."""

    metadata: SecretMetadata = SecretMetadata()


class DriverToken(View, frozen=True):
    audience: str = ""
    expiration_seconds: int | None = None


class DriverSpec(View, frozen=True):
    token_requests: tuple[DriverToken, ...] | None = None
    requires_republish: bool | None = None


class CsiDriver(View, frozen=True):
    """A driver, which may request tokens of the pods that it mounts volumes for."""

    metadata: Metadata = Metadata()
    spec: DriverSpec = DriverSpec()


def owner_of(metadata: ScannedMetadata) -> living.Owner | None:
    """The object that people would edit to change a pod; None for a bare one."""
    controller = metadata.controller
    if controller is None:
        return None
    kind = living.owner_kind(controller.kind, controller.api_version)
    return living.Owner(*preview.owner_of(kind, controller.name, metadata.labels))
