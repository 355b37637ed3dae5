"""The one control plane of a test run, with boundtoken installed in it from the real manifests."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.paths import ROOT
from tests.support.waiting import wait_for


def pytest_configure() -> None:
    """What a shell starts in the background ignores SIGINT and SIGQUIT, what nohup starts SIGHUP;
    and so would all that tests start.
    """
    handlers: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGQUIT: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the control plane is marked by the fixture it takes, and goes last: a broken core
    is told in seconds. What needs the browser or Prometheus is marked as well.
    """
    for item in items:
        if "plane" in getattr(item, "fixturenames", ()) or item.path.parent.name == "cluster_e2e":
            item.add_marker("controlplane")
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if {"promtool", "prometheus_binary"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("prometheus")
    items.sort(key=lambda item: item.get_closest_marker("controlplane") is not None)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as started:
        yield started


@pytest.fixture(scope="session")
def kubelet(plane: ControlPlane) -> Iterator[Kubelet]:
    """boundtoken, installed as the README says, its two replicas ready behind their Service.

    Without self-probes: they would tell of what another test has broken, and count where a test
    counts. `test_self_probe` switches them on.
    """
    plane.kubectl("apply", "-k", str(ROOT / "manifests"))
    with Kubelet(plane, variables={"BOUNDTOKEN_SELF_PROBE_INTERVAL": "0"}) as running:
        try:
            wait_for(lambda: running.proxy.ready("boundtoken") == 2, 60)
        except TimeoutError as problem:
            logs = "\n".join(f"{pod.name}:\n{pod.log}" for pod in running.pods)
            raise RuntimeError(f"boundtoken is not ready; {running.problem!r}\n{logs}") from problem
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failed test with a control plane shows the last lines of every log."""
    report = yield
    running = getattr(item, "funcargs", {}).get("kubelet")
    if running is not None and report.failed:  # type: ignore[attr-defined]
        for pod in running.pods:
            report.sections.append((pod.name, "\n".join(pod.log.splitlines()[-15:])))  # type: ignore[attr-defined]
        report.sections.append(("kube-apiserver", running.plane.logs("kube-apiserver", 15)))  # type: ignore[attr-defined]
    return report
