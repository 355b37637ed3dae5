"""Objects of a cluster as far as commands read them."""

from datetime import datetime

import msgspec

from ...core.views import Metadata, View
from ...scanning.views import Spec


class PodMetadata(Metadata, frozen=True):
    labels: dict[str, str] | None = None
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class Running(View, frozen=True):
    started_at: datetime | None = None


class ContainerState(View, frozen=True):
    running: Running | None = None


class ContainerStatus(View, frozen=True):
    name: str = ""
    state: ContainerState | None = None


class PodStatus(View, frozen=True):
    phase: str = ""
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class LivingPod(View, frozen=True):
    """A pod as it is listed."""

    metadata: PodMetadata = PodMetadata()
    spec: Spec = Spec()
    status: PodStatus = PodStatus()

    @property
    def has_ended(self) -> bool:
        """Whether it never runs again, so that nothing needs to be done about its tokens."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def started(self) -> dict[str, str]:
        """When each container that runs was started last, as the API server writes times."""
        statuses = (self.status.init_container_statuses, self.status.container_statuses)
        times = {
            one.name: one.state.running.started_at
            for group in statuses
            for one in group or ()
            if one.state is not None and one.state.running is not None
        }
        return {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in times.items() if at is not None}


class ConfigurationData(View, frozen=True):
    text: str | None = msgspec.field(name="config.yaml", default=None)


class Manager(View, frozen=True):
    """Who wrote fields of an object, and when."""

    time: datetime | None = None


class ConfigMapMetadata(Metadata, frozen=True):
    managed_fields: tuple[Manager, ...] | None = None

    @property
    def changed(self) -> datetime | None:
        """When somebody wrote to it last, as far as the API server noted that."""
        times = [one.time for one in self.managed_fields or () if one.time is not None]
        return max(times, default=None)


class ConfigMap(View, frozen=True):
    metadata: ConfigMapMetadata = ConfigMapMetadata()
    data: ConfigurationData | None = None


class Port(View, frozen=True):
    port: int = 0


class ServiceSpec(View, frozen=True):
    ports: tuple[Port, ...] | None = None


class Service(View, frozen=True):
    spec: ServiceSpec = ServiceSpec()


class ServiceAccount(View, frozen=True):
    metadata: Metadata = Metadata()
    automount_service_account_token: bool | None = None


class Annotated(View, frozen=True):
    """An object of which only the metadata are read."""

    metadata: Metadata = Metadata()


class InvolvedObject(View, frozen=True):
    kind: str = ""
    name: str = ""


class Event(View, frozen=True):
    reason: str = ""
    message: str = ""
    last_timestamp: str | None = None
    count: int = 1
    involved_object: InvolvedObject = InvolvedObject()
