"""The volumes of a pod, laid out as the kubelet does it: a folder each, whose files change all at
once, and tokens that are requested with the *node's* identity and replaced in time.
"""

import base64
import random
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.controlplane.cluster import ControlPlane, StatusError
from webhook.tokens.refresh import MAX_JITTER_SECONDS, refresh_at

Json = dict[str, Any]
Files = dict[str, bytes]
"""What a volume shows: content by path."""


class _Token(NamedTuple):
    text: str
    replace_at: float


class Volumes:
    """The volumes of a pod in `folder`: projected, configMap, secret, downwardAPI and emptyDir.
    Safe under threads. `clock` gives seconds since 1970, and may be replaced.
    """

    def __init__(self, plane: ControlPlane, pod: Json, folder: Path, ip: str) -> None:
        self.clock: Callable[[], float] = time.time
        self._plane = plane
        self._pod = pod
        self._folder = folder
        self._ip = ip
        self._volumes: list[Json] = pod["spec"].get("volumes") or []
        self._shown: dict[str, Files] = {}
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()
        for volume in self._volumes:
            (folder / volume["name"]).mkdir(parents=True, exist_ok=True)

    @property
    def tokens(self) -> dict[str, str]:
        """The tokens that the volumes show, by volume and file; at the end the last ones."""
        return {name: token.text for name, token in self._tokens.items()}

    def is_writable(self, name: str) -> bool:
        return any(volume["name"] == name and "emptyDir" in volume for volume in self._volumes)

    def refresh(self) -> None:
        """Show what has changed, and replace the tokens whose time has come. What is not there any
        more is shown on.

        Raises: StatusError, where something is not there yet, or the API server refuses a token
        """
        with self._lock:
            for volume in self._volumes:
                name = volume["name"]
                if self._is_fresh(name):
                    continue
                try:
                    files = self._files(name, volume)
                except StatusError as problem:
                    if problem.code == 404 and name in self._shown:
                        continue
                    raise
                if files != self._shown.get(name):
                    show(self._folder / name, files)
                    self._shown[name] = files

    def _is_fresh(self, name: str) -> bool:
        """Whether a volume has tokens, and none is due."""
        tokens = [token for key, token in self._tokens.items() if key.startswith(f"{name}/")]
        return bool(tokens) and all(self.clock() < token.replace_at for token in tokens)

    def rotate(self) -> None:
        """Replace every token now, as if its time had come. Raises: as `refresh` does"""
        with self._lock:
            self._tokens.clear()
        self.refresh()

    def field(self, reference: Json) -> str:
        """The value of a fieldRef, such as `metadata.labels['app']` or `status.podIP`."""
        path = reference["fieldPath"]
        if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
            return str(self._pod["metadata"].get(found[1], {}).get(found[2], ""))
        value: Any = {**self._pod, "status": {"podIP": self._ip}}
        for part in path.split("."):
            value = value[part]
        return str(value)

    def _files(self, name: str, source: Json) -> Files:
        """What a volume shows, or one source of a projected volume."""
        files: Files = {}
        for part in source.get("projected", {}).get("sources", ()):
            files |= self._files(name, part)
        if "serviceAccountToken" in source:
            projection = source["serviceAccountToken"]
            files[projection["path"]] = self._token(name, projection).encode()
        for item in source.get("downwardAPI", {}).get("items", ()):
            files[item["path"]] = self.field(item["fieldRef"]).encode()
        if "configMap" in source:
            files |= self._object("configmaps", source["configMap"]["name"], source["configMap"])
        if "secret" in source:
            secret = source["secret"].get("secretName") or source["secret"]["name"]
            files |= self._object("secrets", secret, source["secret"])
        return files

    def _token(self, volume: str, projection: Json) -> str:
        key, now = f"{volume}/{projection['path']}", self.clock()
        token = self._tokens.get(key)
        if token is None or now >= token.replace_at:
            answer = token_request(self._plane, self._pod, projection)
            jitter = random.uniform(0, MAX_JITTER_SECONDS)
            replace_at = refresh_at(now, now + answer["spec"]["expirationSeconds"], jitter)
            token = self._tokens[key] = _Token(answer["status"]["token"], replace_at)
        return token.text

    def _object(self, resource: str, name: str, source: Json) -> Files:
        """The files of a ConfigMap or Secret."""
        namespace = self._pod["metadata"]["namespace"]
        try:
            found = self._plane.call("GET", f"/api/v1/namespaces/{namespace}/{resource}/{name}")
        except StatusError as problem:
            if problem.code == 404 and source.get("optional"):
                return {}
            raise
        decode = base64.b64decode if resource == "secrets" else str.encode
        files = {key: decode(text) for key, text in (found.get("data") or {}).items()}
        items = source.get("items")
        return {item["path"]: files[item["key"]] for item in items} if items else files


def show(folder: Path, content: Files) -> None:
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


def node_token(plane: ControlPlane, pod: Json, projection: Json) -> str:
    """The token that a node gets for one projected source of a pod bound to it.

    Raises: StatusError, as NodeRestriction refuses a token that the pod does not declare
    """
    return str(token_request(plane, pod, projection)["status"]["token"])


def token_request(plane: ControlPlane, pod: Json, projection: Json) -> Json:
    """The same with the rest of the API server's answer: the lifetime that it chose, and when the
    token is to be replaced.
    """
    metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec: Json = {
        "boundObjectRef": bound,
        "audiences": [projection["audience"]] if projection.get("audience") else None,
    }
    if "expirationSeconds" in projection:
        spec["expirationSeconds"] = projection["expirationSeconds"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return dict(plane.call("POST", path, body, user="node"))
