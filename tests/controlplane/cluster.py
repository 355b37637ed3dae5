"""A real etcd, kube-apiserver and kube-controller-manager on loopback, with a kubectl of the same
release.

    with ControlPlane() as plane:
        plane.kubectl("get", "namespaces")

Service addresses lie in 127.96.0.0/16, which on Linux is this machine: the API server calls
webhooks through `clientConfig.service` as in any cluster. Logs stay in the folder of the run and
are shown when a start fails.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.controlplane import build
from tests.controlplane.egress import Egress
from tests.support.processes import free_port
from tests.support.waiting import wait_for

ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICE_RANGE = "127.96.0.0/16"
NODE = "node-1"
MERGE_PATCH = "application/merge-patch+json"
USERS = {
    "admin": ("admin", "system:masters"),
    "node": (f"system:node:{NODE}", "system:nodes"),
    "editor": ("editor", ""),
    "developer": ("alice", "shop-developers"),
    "pipeline": ("ci:example/shop", ""),
    "controllers": ("system:kube-controller-manager", ""),
}
"""Our names for the people and machines of the tests: user name and group."""

AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]}


class ControlPlane:
    """The three processes of a control plane; start with `with`, or `start()` and `stop()`.

    `emulates` is an older release that the API server behaves as, such as 1.34; `audit_policy` is
    what it records; `flags` are more of the API server's; `controllers` is the user of the
    controller manager.
    """

    def __init__(
        self,
        emulates: str = "",
        audit_policy: Mapping[str, Any] = AUDIT_POLICY,
        flags: tuple[str, ...] = (),
        controllers: str = "admin",
    ) -> None:
        self._emulates = emulates
        self._flags = flags
        self._controllers = controllers
        self._audit_policy = dict(audit_policy)
        self.folder = Path(tempfile.mkdtemp(prefix="boundtoken-"))
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.tokens = {name: secrets.token_hex(16) for name in USERS}
        self._etcd = f"http://127.0.0.1:{free_port()}"
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.egress = Egress(self.folder / "egress.sock")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all three and wait until default service accounts are made."""
        try:
            self._write_files()
            self.egress.start()
            self._start_etcd()
            self.start_apiserver()
            wait_for(
                lambda: (
                    "default"
                    in self.kubectl("get", "serviceaccounts", "-n", "default", "-o", "name")
                ),
                60,
            )
        except BaseException:
            self.stop(keep=True)
            raise

    def stop(self, *, keep: bool = False) -> None:
        """End what runs, newest first; the folder goes too unless it is kept."""
        for name in reversed(list(self._running)):
            self._end(name)
        self.egress.stop()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def ca_file(self) -> Path:
        """The certificate that the API server serves with, made at the first start of a run; its
        own authority.
        """
        return self.folder / "certs" / "apiserver.crt"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def start_apiserver(self) -> None:
        """The API server, and then the controllers, which know nothing of an earlier one."""
        self._start(
            "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.ca_file.parent}",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={self.folder / 'sa.pub'}",
            f"--service-account-signing-key-file={self.folder / 'sa.key'}",
            f"--api-audiences={ISSUER}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--enable-admission-plugins=NodeRestriction",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--audit-policy-file={self.folder / 'audit.yaml'}",
            f"--audit-log-path={self.audit_log}",
            "--allow-privileged",
            "--endpoint-reconciler-type=none",
            f"--egress-selector-config-file={self.folder / 'egress.yaml'}",
            *([f"--emulated-version=kube={self._emulates}"] if self._emulates else []),
            *self._flags,
        )
        self._wait_until_ready()
        self._write_kubeconfigs()
        self._start_controllers()

    def stop_apiserver(self) -> None:
        """Both.

        Why the controllers as well: each of their watches comes back by itself, and waits twice as
        long after each failure, up to half a minute. Until then a replica that is ready has no
        endpoint, and the next test believes that it is broken.
        """
        self._end("kube-controller-manager")
        self._end("kube-apiserver")

    def restart_apiserver(self) -> None:
        """New processes on the same port, data and certificate."""
        self.stop_apiserver()
        self.start_apiserver()

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.folder / f"{user}.kubeconfig"

    def kubectl(self, *arguments: str, user: str = "admin", stdin: str | None = None) -> str:
        """What kubectl prints on standard output.

        Raises: KubectlError, with standard error, when it fails
        """
        return self.run_kubectl(*arguments, user=user, stdin=stdin).stdout

    def run_kubectl(
        self, *arguments: str, user: str = "admin", stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The same with standard error, where warnings are."""
        command = [
            str(build.binary()),
            "kubectl",
            f"--kubeconfig={self.kubeconfig(user)}",
            *arguments,
        ]
        result = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=480
        )
        if result.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result

    def call(self, verb: str, path: str, body: Any = None, **options: Any) -> Any:
        """One raw call to the API server, JSON in and out; gives the decoded body, and takes what
        `call_with_warnings` does.

        Raises: StatusError, with code and Status, for an answer of 400 or more
        """
        return self.call_with_warnings(verb, path, body, **options)[0]

    def call_with_warnings(
        self,
        verb: str,
        path: str,
        body: Any = None,
        *,
        user: str = "admin",
        token: str | None = None,
        kind: str = "application/json",
        seconds: float = 120,
    ) -> tuple[Any, list[str]]:
        """The same, with the texts of the Warning headers. `seconds` bound each read of the
        answer.
        """
        request = urllib.request.Request(
            self.url + path,
            method=verb,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {token or self.tokens[user]}",
                "Content-Type": kind,
                "Accept": "application/json",
            },
        )
        context = ssl.create_default_context(cafile=str(self.ca_file))
        try:
            with urllib.request.urlopen(request, context=context, timeout=seconds) as answer:
                warnings = [
                    header.split(" ", 2)[2].strip('"')
                    for header in answer.headers.get_all("Warning") or ()
                ]
                return json.loads(answer.read() or b"null"), [
                    warning.replace('\\"', '"') for warning in warnings
                ]
        except urllib.error.HTTPError as problem:
            with problem:
                raise StatusError(problem.code, json.loads(problem.read() or b"{}")) from problem

    def review_token(self, token: str, audience: str | None = None) -> dict[str, Any]:
        """The status of a TokenReview: what the API server thinks of a token for an audience."""
        spec = {"token": token, **({"audiences": [audience]} if audience else {})}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        return dict(
            self.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]
        )

    def logs(self, name: str, lines: int = 40) -> str:
        path = self.folder / f"{name}.log"
        return (
            "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
            if path.exists()
            else ""
        )

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{free_port()}"
        self._start(
            "etcd",
            "--name=default",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _start_controllers(self) -> None:
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(self._controllers)}",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self.folder / 'sa.key'}",
            f"--root-ca-file={self.ca_file}",
            "--leader-elect=false",
            "--controllers=*,-nodeipam,-nodelifecycle",
            "--secure-port=0",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        )

    def _start(self, name: str, *flags: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        command = [str(build.binary()), name, *flags]
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        with log:
            self._running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environ
            )

    def _end(self, name: str) -> None:
        process = self._running.pop(name)
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_until_ready(self) -> None:
        def ready() -> bool:
            if self._running["kube-apiserver"].poll() is not None:
                raise RuntimeError("kube-apiserver ended:\n" + self.logs("kube-apiserver"))
            with contextlib.suppress(OSError, StatusError, ValueError):
                # The controllers wait 10 s for this address, and then end for ever.
                context = ssl.create_default_context(cafile=str(self.ca_file))
                urllib.request.urlopen(f"{self.url}/healthz", context=context, timeout=10).close()
                return "kube-system" in str(
                    self.call("GET", "/api/v1/namespaces/kube-system")["metadata"]["name"]
                )
            return False

        wait_for(ready, 60)

    def _write_files(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / "sa.key").write_bytes(private)
        (self.folder / "sa.pub").write_bytes(public)
        rows = [
            f'{self.tokens[name]},{user},{user},"{group}"' for name, (user, group) in USERS.items()
        ]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        (self.folder / "audit.yaml").write_text(yaml.safe_dump(self._audit_policy))
        (self.folder / "egress.yaml").write_text(yaml.safe_dump(self.egress.configuration()))

    def _write_kubeconfigs(self) -> None:
        ca = base64.b64encode(self.ca_file.read_bytes()).decode()
        for user, token in self.tokens.items():
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {"server": self.url, "certificate-authority-data": ca},
                    }
                ],
                "users": [{"name": user, "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "current-context": "test",
            }
            self.kubeconfig(user).write_text(yaml.safe_dump(config))


class KubectlError(RuntimeError):
    """kubectl failed; the text is what it said."""


class StatusError(Exception):
    """The API server answered with 400 or more."""

    def __init__(self, code: int, status: dict[str, Any]) -> None:
        super().__init__(f"{code}: {status.get('message')}")
        self.code = code
        self.status = status
