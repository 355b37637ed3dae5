"""A stand-in for the kubelet, on the real API server.

It takes the pods of one namespace, whoever made them, binds them to its Node, lays out their
volumes (`volumes.py`), and starts the container's own command with its own arguments and
environment in a mount namespace where the volumes stand at their mount paths (`runtime.py`), under
its memory limit where it has one and this machine lets us make a cgroup. It probes as the manifest
says and writes the status. A pod that ends is started again unless its restartPolicy says
otherwise; a deleted pod gets SIGTERM. Services have their names in /etc/hosts, and a stand-in for
kube-proxy behind their addresses (`proxy.py`).

What is replaced: the network (a pod's address is one of 127.97.0.0/16, which the program has to
listen on: BOUNDTOKEN_LISTEN tells it to boundtoken, `status.podIP` to others), the image (its files
are this machine's, and the entry point is that of the Dockerfile, from this virtual environment),
the user. A pod has one container.
"""

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self

from tests.controlplane import runtime
from tests.controlplane.cluster import NODE, ControlPlane, StatusError
from tests.controlplane.egress import told
from tests.controlplane.proxy import EVERY_SECONDS, Proxy
from tests.controlplane.volumes import Volumes
from tests.support.limited import Limit
from tests.support.waiting import wait_for

_ADDRESSES = itertools.count(random.randrange(10, 60000))
_UNITS = {"Ki": 10, "Mi": 20, "Gi": 30}


class Kubelet:
    """Runs the pods of one namespace; use it with `with`. `variables` are set in each of them
    beside what the manifest sets, from its next start on.
    """

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str = "boundtoken-system",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.plane = plane
        self.namespace = namespace
        self.variables = dict(variables or {})
        self._pods: dict[str, RunningPod] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.proxy = Proxy(plane, namespace)
        self.problem: BaseException | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(StatusError):
            self.plane.call("POST", "/api/v1/nodes", {"metadata": {"name": NODE}, "spec": {}})
        self._thread.start()
        self.proxy.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.proxy.stop()
        for pod in self._pods.values():
            pod.end(signal.SIGKILL)
            pod.close()

    @property
    def pods(self) -> list["RunningPod"]:
        return list(self._pods.values())

    def run(self, pod: dict[str, Any]) -> "RunningPod":
        """A pod of this object, when it has been started.

        Raises: StatusError, where the API server refuses it; TimeoutError, where it does not start
        """
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        uid = self.plane.call("POST", path, pod)["metadata"]["uid"]
        try:
            wait_for(lambda: uid in self._pods)
        except TimeoutError as problem:
            name = pod["metadata"]["name"]
            raise TimeoutError(f"pod {name} does not start: {self.problem!r}") from problem
        return self._pods[uid]

    def _loop(self) -> None:
        while not self._stop.is_set():
            with self._noted():
                self._sync()
            self._stop.wait(EVERY_SECONDS)

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """The API server may go away, also within an answer, or a ConfigMap not be there yet: the
        next round tries again.
        """
        try:
            yield
        except (OSError, HTTPException, StatusError, KeyError, ValueError) as problem:
            self.problem = problem

    def _sync(self) -> None:
        listed = self.plane.call("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        there = {pod["metadata"]["uid"]: pod for pod in listed}
        for uid, pod in there.items():
            with self._noted():
                if "deletionTimestamp" not in pod["metadata"]:
                    if uid not in self._pods:
                        self._pods[uid] = RunningPod(self.plane, pod, self.proxy, self.variables)
                elif uid not in self._pods or self._pods[uid].terminate():
                    self._remove(pod)
        for uid, running in list(self._pods.items()):
            with self._noted():
                running.sync(gone=uid not in there)
            if uid not in there and running.ended:
                self._pods.pop(uid).close()

    def _remove(self, pod: dict[str, Any]) -> None:
        """Tell the API server that nothing of a deleted pod runs any more."""
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{self.namespace}/pods/{metadata['name']}"
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        self.plane.call("DELETE", path, body)


class RunningPod:
    """One pod: its process, its volumes, its status."""

    def __init__(
        self,
        plane: ControlPlane,
        pod: dict[str, Any],
        proxy: Proxy,
        variables: Mapping[str, str],
    ) -> None:
        self._plane = plane
        self._proxy = proxy
        self._variables = variables
        self.name: str = pod["metadata"]["name"]
        self.namespace: str = pod["metadata"]["namespace"]
        self._path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        number = next(_ADDRESSES) % 65000
        self.ip = f"127.97.{number // 250}.{number % 250 + 1}"
        self._container = pod["spec"]["containers"][0]
        self.folder: Path = plane.folder / "pods" / f"{self.name}-{pod['metadata']['uid'][:8]}"
        self.ready = False
        self._terminating = False
        self._probed = 0.0
        self._restarts = 0
        self._reported: tuple[object, ...] = ()
        if not pod["spec"].get("nodeName"):
            body = {"target": {"kind": "Node", "name": NODE}, "metadata": {"name": self.name}}
            plane.call("POST", f"{self._path}/binding", body)
            pod["spec"]["nodeName"] = NODE
        self.pod = pod
        self._limit = self._memory_limit()
        self._closing = contextlib.ExitStack()
        self.volumes = Volumes(plane, pod, self.folder, self.ip)
        self._refresh()
        if self._limit is not None:
            self._closing.enter_context(self._limit.made())
        self.started = time.monotonic()
        self._process = self._run()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        """As a kubelet tells it: 137 after SIGKILL. None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return (
            path.read_text(errors="replace") if path.exists() else ""
        )  # a failed teardown may ask after the end

    @property
    def metrics_url(self) -> str:
        return f"http://{self.ip}:8080/metrics"

    def end(self, number: signal.Signals) -> None:
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait(60)

    def close(self) -> None:
        """Put away what was made for it; it has ended."""
        self._closing.close()

    def terminate(self) -> bool:
        """SIGTERM, once; gives whether the process has ended."""
        if not self._terminating:
            self._terminating = True
            if not self.ended:
                os.killpg(self._process.pid, signal.SIGTERM)
        return self.ended

    def sync(self, *, gone: bool) -> None:
        """Probe as often as the manifest says, refresh what volumes show, and write the status when
        it changed.
        """
        if gone:
            self.end(signal.SIGKILL)
            return
        probe = self._container.get("readinessProbe") or {}
        if (
            time.monotonic() - self._probed < probe.get("periodSeconds", 1)
            and (self.ready or self._terminating)
            and not self.ended
        ):
            return
        self._probed = time.monotonic()
        has_ended = self.ended
        if has_ended and self._terminating:
            return
        if has_ended and not self._starts_again():
            self._report(is_ready=False)
            return
        self._refresh()
        # Not one that ends meanwhile: it may be terminating.
        if has_ended:  # a kubelet would wait a little longer each time
            self._restarts += 1
            self.started = time.monotonic()
            self._process = self._run()
        self._report(is_ready=not self.ended and self._answers(probe))

    def _starts_again(self) -> bool:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and self.exit_code != 0)

    def _answers(self, probe: dict[str, Any]) -> bool:
        """Whether it is ready: what has no probe is, when it runs."""
        try:
            if "tcpSocket" in probe:
                socket.create_connection((self.ip, self._port(probe["tcpSocket"])), 1).close()
            if "httpGet" in probe:
                url = f"http://{self.ip}:{self._port(probe['httpGet'])}{probe['httpGet']['path']}"
                with urllib.request.urlopen(url, timeout=1) as answer:
                    return int(answer.status) < 400
        except OSError:
            return False
        return True

    def _port(self, action: dict[str, Any]) -> int:
        named = {port.get("name"): port["containerPort"] for port in self._container["ports"]}
        return int(named.get(action["port"], action["port"]))

    def _report(self, *, is_ready: bool) -> None:
        """Write the status where it is another one than the last."""
        code = self.exit_code
        phase = "Running" if code is None or self._starts_again() else "Failed"
        if phase == "Failed" and code == 0:
            phase = "Succeeded"
        self.ready = is_ready
        status = (phase, is_ready, self._restarts)
        if status != self._reported:
            self._write_status(phase)
            self._reported = status

    def _write_status(self, phase: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        truth = "True" if self.ready else "False"
        kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        conditions = [
            {
                "type": kind,
                "status": truth if kind.endswith("eady") else "True",
                "lastTransitionTime": now,
            }
            for kind in kinds
        ]
        state: dict[str, Any] = {"running": {"startedAt": now}}
        if phase != "Running":
            state = {"terminated": {"exitCode": self.exit_code, "finishedAt": now}}
        container = {
            "name": self._container["name"],
            "image": self._container["image"],
            "imageID": "",
            "ready": self.ready,
            "restartCount": self._restarts,
            "state": state,
        }
        status = {
            "phase": phase,
            "podIP": told(self.ip),
            "podIPs": [{"ip": told(self.ip)}],
            "conditions": conditions,
            "containerStatuses": [container],
            "startTime": now,
        }
        self._plane.call(
            "PATCH",
            f"{self._path}/status",
            {"status": status},
            kind="application/strategic-merge-patch+json",
        )

    def _refresh(self) -> None:
        """What its volumes show, and the names of the Services."""
        self.volumes.refresh()
        hosts = runtime.hosts(self.namespace, self._proxy.addresses)
        path = self.folder / "hosts"
        if not path.exists() or path.read_text() != hosts:
            path.write_text(hosts)

    def _memory_limit(self) -> Limit | None:
        text = self._container.get("resources", {}).get("limits", {}).get("memory")
        return Limit(int(text[:-2]) << _UNITS[text[-2:]], self.folder.name) if text else None

    def _environment(self) -> dict[str, str]:
        """What the image, the kubelet and the manifest set."""
        environ = runtime.environment(self.name) | {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._plane.port),
            "BOUNDTOKEN_LISTEN": f"{self.ip}:10250",
            "BOUNDTOKEN_PLAIN_LISTEN": f"{self.ip}:8080",
            **self._variables,
        }
        for variable in self._container.get("env", ()):
            source = variable.get("valueFrom")
            value = self.volumes.field(source["fieldRef"]) if source else variable.get("value")
            environ[variable["name"]] = value or ""
        return environ

    def _run(self) -> subprocess.Popen[bytes]:
        mounts = [
            runtime.Mount(
                self.folder / mount["name"],
                mount["mountPath"],
                is_writable=self.volumes.is_writable(mount["name"]),
            )
            for mount in self._container.get("volumeMounts", ())
        ]
        command = runtime.in_mounts(
            runtime.command(self._container), mounts, hosts=self.folder / "hosts"
        )
        if self._limit is not None and self._limit.is_of_a_cgroup:
            command = self._limit.command(command)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._container.get("workingDir", "/"),
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
