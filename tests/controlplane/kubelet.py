"""Stand-ins for the kubelet and kube-proxy, as far as our own Deployment needs them, on the real
API server.

The kubelet takes the pods that the real controllers made, binds them to its Node, asks for their
projected tokens with the *node's* identity, lays out their volumes as symlinked folders, and starts
the container's own command with its own arguments and environment in a mount namespace where the
volumes stand at their mount paths, under its memory limit where this machine lets us make a cgroup.
It probes as the manifest says and writes the status; a deleted pod gets SIGTERM. kube-proxy listens
on the Service's address and forwards each new connection to a ready endpoint.

What is replaced: the network (a pod's address is one of 127.97.0.0/16, told by BOUNDTOKEN_LISTEN
instead of a network namespace), the image (the entry point of the Dockerfile, from this virtual
environment), the user.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from tests.controlplane.cluster import NODE, ControlPlane, StatusError
from tests.controlplane.egress import Background, heard, joined, told
from tests.support.limited import Limit, image_environment
from tests.support.paths import ROOT

EVERY_SECONDS = 0.2
_ADDRESSES = itertools.count(random.randrange(10, 60000))


class Kubelet:
    """Runs the pods of one namespace; use it with `with`."""

    def __init__(self, plane: ControlPlane, namespace: str = "boundtoken-system") -> None:
        self.plane = plane
        self._namespace = namespace
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

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._sync()
            except (
                OSError,
                StatusError,
                KeyError,
            ) as problem:  # the API server may be away; the next round tries again
                self.problem = problem
            self._stop.wait(EVERY_SECONDS)

    def _sync(self) -> None:
        listed = self.plane.call("GET", f"/api/v1/namespaces/{self._namespace}/pods")["items"]
        there = {pod["metadata"]["uid"]: pod for pod in listed}
        for uid, pod in there.items():
            if uid not in self._pods and "deletionTimestamp" not in pod["metadata"]:
                self._pods[uid] = RunningPod(self.plane, pod)
            if uid in self._pods and "deletionTimestamp" in pod["metadata"]:
                self._pods[uid].terminate(pod)
        for uid, running in list(self._pods.items()):
            running.sync(gone=uid not in there)
            if uid not in there and running.ended:
                self._pods.pop(uid).close()


class RunningPod:
    """One pod: its process, its folders, its status."""

    def __init__(self, plane: ControlPlane, pod: dict[str, Any]) -> None:
        self._plane = plane
        self.name: str = pod["metadata"]["name"]
        self._namespace: str = pod["metadata"]["namespace"]
        self._path = f"/api/v1/namespaces/{self._namespace}/pods/{self.name}"
        number = next(_ADDRESSES) % 65000
        self.ip = f"127.97.{number // 250}.{number % 250 + 1}"
        self._container = pod["spec"]["containers"][0]
        self.folder: Path = plane.folder / "pods" / self.name
        self.ready = False
        self._terminating = False
        self._probed = 0.0
        if not pod["spec"].get("nodeName"):
            body = {"target": {"kind": "Node", "name": NODE}, "metadata": {"name": self.name}}
            plane.call("POST", f"{self._path}/binding", body)
        self._pod = pod
        self._limit = Limit(
            int(self._container["resources"]["limits"]["memory"].removesuffix("Mi")) << 20,
            self.name,
        )
        self._closing = contextlib.ExitStack()
        self._lay_out()
        self._closing.enter_context(self._limit.made())
        self.started = time.monotonic()
        self._process = self._run()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

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

    def terminate(self, pod: dict[str, Any]) -> None:
        """SIGTERM, and when the process has ended the pod goes; as a kubelet does."""
        if not self._terminating:
            self._terminating = True
            os.killpg(self._process.pid, signal.SIGTERM)
        if self.ended:
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
            with contextlib.suppress(StatusError):
                self._plane.call("DELETE", self._path, body)

    def sync(self, *, gone: bool) -> None:
        """Probe as often as the manifest says, refresh what volumes show, and write the status when
        it changed.
        """
        if gone:
            self.end(signal.SIGKILL)
            return
        probe = self._container["readinessProbe"]
        if (
            time.monotonic() - self._probed < probe["periodSeconds"]
            and (self.ready or self._terminating)
            and not self.ended
        ):
            return
        self._probed = time.monotonic()
        self._refresh()
        if (
            self.ended and not self._terminating
        ):  # restartPolicy: Always; a kubelet would wait a little longer each time
            self.started = time.monotonic()
            self._process = self._run()
        ready = not self.ended and self._answers(probe["httpGet"])
        if ready != self.ready or "status" not in self.__dict__:
            self.ready, self.status = ready, True
            self._write_status()

    def _answers(self, probe: dict[str, Any]) -> bool:
        port = next(
            container_port["containerPort"]
            for container_port in self._container["ports"]
            if container_port["name"] == probe["port"]
        )
        try:
            with urllib.request.urlopen(
                f"http://{self.ip}:{port}{probe['path']}", timeout=1
            ) as answer:
                return int(answer.status) < 400
        except OSError:
            return False

    def _write_status(self) -> None:
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
        status = {
            "phase": "Running",
            "podIP": told(self.ip),
            "podIPs": [{"ip": told(self.ip)}],
            "conditions": conditions,
            "startTime": now,
        }
        self._plane.call(
            "PATCH",
            f"{self._path}/status",
            {"status": status},
            kind="application/strategic-merge-patch+json",
        )

    def _lay_out(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for volume in self._pod["spec"]["volumes"]:
            (self.folder / volume["name"]).mkdir(exist_ok=True)
        self._shown: dict[str, dict[str, bytes]] = {}
        self._refresh()

    def _refresh(self) -> None:
        for volume in self._pod["spec"]["volumes"]:
            if "projected" in volume and volume["name"] in self._shown:
                continue  # tokens outlive a test run
            content = self._content(volume)
            if content != self._shown.get(volume["name"]):
                show(self.folder / volume["name"], content)
                self._shown[volume["name"]] = content

    def _content(self, volume: dict[str, Any]) -> dict[str, bytes]:
        if "configMap" in volume:
            return {
                name: text.encode()
                for name, text in self._get("configmaps", volume["configMap"]["name"]).items()
            }
        if "secret" in volume:
            return {
                name: base64.b64decode(text)
                for name, text in self._get("secrets", volume["secret"]["secretName"]).items()
            }
        return self._projected(volume["projected"]["sources"])

    def _projected(self, sources: list[dict[str, Any]]) -> dict[str, bytes]:
        shown: dict[str, bytes] = {}
        for source in sources:
            if "serviceAccountToken" in source:
                projection = source["serviceAccountToken"]
                shown[projection["path"]] = node_token(self._plane, self._pod, projection).encode()
            elif "configMap" in source:
                data = self._get("configmaps", source["configMap"]["name"])
                shown |= {
                    item["path"]: data[item["key"]].encode()
                    for item in source["configMap"]["items"]
                }
            elif "downwardAPI" in source:
                shown |= {
                    item["path"]: self._namespace.encode()
                    for item in source["downwardAPI"]["items"]
                }
        return shown

    def _get(self, resource: str, name: str) -> dict[str, str]:
        try:
            return dict(
                self._plane.call(
                    "GET", f"/api/v1/namespaces/{self._namespace}/{resource}/{name}"
                ).get("data")
                or {}
            )
        except StatusError as problem:
            if problem.code == 404:
                return {}
            raise

    def _run(self) -> subprocess.Popen[bytes]:
        dockerfile = (ROOT / "Dockerfile").read_text().splitlines()
        entry = json.loads(
            next(line for line in dockerfile if line.startswith("ENTRYPOINT")).removeprefix(
                "ENTRYPOINT "
            )
        )
        command = [*self._container.get("command", entry), *self._container.get("args", [])]
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME": self.name,
            **image_environment(),
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self._plane.port),
            "BOUNDTOKEN_LISTEN": f"{self.ip}:10250",
            "BOUNDTOKEN_PLAIN_LISTEN": f"{self.ip}:8080",
        }
        for variable in self._container.get("env", ()):
            source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            environ[variable["name"]] = {
                "metadata.namespace": self._namespace,
                "metadata.name": self.name,
            }.get(source, variable.get("value", ""))
        mounts = [
            (self.folder / mount["name"], mount["mountPath"])
            for mount in self._container["volumeMounts"]
        ]
        command = in_mounts(command, mounts)
        if self._limit.is_of_a_cgroup:
            command = self._limit.command(command)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )


def in_mounts(command: list[str], mounts: list[tuple[Path, str]]) -> list[str]:
    """`command` in a mount namespace of its own, where each folder stands read-only at its path
    below /run.
    """
    lines = ["set -e"]
    staging = [
        f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(source))}"
        for source, _ in mounts
    ]
    lines += [*staging, "mount -t tmpfs tmpfs /run"]
    for source, path in mounts:
        lines.append(f"mkdir -p {shlex.quote(path)}")
        lines.append(f"mount --bind -o ro {shlex.quote(str(source))} {shlex.quote(path)}")
    lines.append("exec " + shlex.join(command))
    userns = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *userns, "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)]


def show(folder: Path, content: dict[str, bytes]) -> None:
    """Let a volume show these files, all at once, as the kubelet's atomic writer does: by swapping
    `..data`.
    """
    version = folder / f"..{time.monotonic_ns()}"
    version.mkdir()
    for name, data in content.items():
        path = version / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        link = folder / name.split("/")[0]
        if not link.is_symlink():
            link.symlink_to(Path("..data") / name.split("/")[0])
    fresh = folder / "..data_tmp"
    fresh.symlink_to(version.name)
    fresh.replace(folder / "..data")
    for link in folder.iterdir():
        if (
            link.is_symlink()
            and not link.name.startswith("..")
            and link.name not in {name.split("/")[0] for name in content}
        ):
            link.unlink()


def node_token(plane: ControlPlane, pod: dict[str, Any], projection: dict[str, Any]) -> str:
    """The token that a node gets for one projected source of a pod bound to it.

    Raises: StatusError, as NodeRestriction refuses a token that the pod does not declare
    """
    metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec: dict[str, Any] = {
        "boundObjectRef": bound,
        "audiences": [projection["audience"]] if projection.get("audience") else None,
    }
    if "expirationSeconds" in projection:
        spec["expirationSeconds"] = projection["expirationSeconds"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(plane.call("POST", path, body, user="node")["status"]["token"])


class Proxy(Background):
    """kube-proxy for the Services of one namespace: new connections go to ready endpoints, old ones
    live on.
    """

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__()
        self._plane = plane
        self._namespace = namespace
        self._backends: dict[str, list[tuple[str, int]]] = {}
        self._servers: dict[tuple[str, str], asyncio.Server] = {}
        self._turn = itertools.count()

    def ready(self, service: str) -> int:
        """How many endpoints the Service has as kube-proxy knows it."""
        return len(self._backends.get(service) or ())

    async def begin(self) -> None:
        self.run(self._follow())

    def end(self) -> None:
        for server in self._servers.values():
            server.close()

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError, StatusError, KeyError):
                await self._sync()
            await asyncio.sleep(EVERY_SECONDS)

    async def _sync(self) -> None:
        base = f"/api/v1/namespaces/{self._namespace}/services"
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices"
        services = (await asyncio.to_thread(self._plane.call, "GET", base))["items"]
        listed = (await asyncio.to_thread(self._plane.call, "GET", slices))["items"]
        for service in services:
            name, spec = service["metadata"]["name"], service["spec"]
            self._backends[name] = [
                (heard(address), slice_["ports"][0]["port"])
                for slice_ in listed
                if slice_["metadata"]["labels"].get("kubernetes.io/service-name") == name
                and slice_.get("ports")
                for endpoint in slice_.get("endpoints") or ()
                if endpoint["conditions"].get("ready")
                for address in endpoint["addresses"]
            ]
            address = spec["clusterIP"]  # another one when the Service is made again
            if (name, address) not in self._servers:
                self._servers[name, address] = await asyncio.start_server(
                    lambda *ends, name=name: self.run(self._forward(name, *ends)),
                    address,
                    spec["ports"][0]["port"],
                )

    async def _forward(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        backends = self._backends.get(name) or []
        try:
            if not backends:
                raise ConnectionRefusedError
            host, port = backends[next(self._turn) % len(backends)]
            ends = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        await joined((reader, writer), ends)
