"""Generated pods, namespaces and configurations for the two judges, aimed at what decides: each is
one the API server takes.

Random with a seed, and not Hypothesis: thousands of them go to a real API server, where nothing
shrinks.
"""

import random
from typing import Any

from tests.support.builders import Json
from webhook.core import names
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy

API = "https://kubernetes.default.svc.cluster.local"
AUDIENCES = [
    None,
    None,
    None,
    "",
    API,
    "vault",
    "aws",
    "evil",
    "é",
    "\u0378",
    "\U0001fadf",
    "a b",
    "x" * 201,
    "line\nbreak",
    '"quoted"',
    "back\\slash",
]
SECONDS = [
    None,
    600,
    601,
    1800,
    3599,
    3600,
    3601,
    3606,
    3607,
    3607,
    3607,
    3608,
    7200,
    86400,
    86401,
    31536000,
    1 << 32,
]
NAMESPACES: list[dict[str, str]] = [
    {"enforce": "bound"},
    {"enforce": "strict"},
    {"enforce": "off"},
    {},
    {"enforce": "Bound"},
    {"enforce": ""},
    {"enforce": "strict", "enforce-version": "v1"},
    {"enforce": "strict", "inject": "replace", "automount": "disabled"},
    {"enforce": "bound", "inject": "enabled"},
    {"enforce": "bound", "inject": "Enabled"},
    {"enforce": "bound", "enforce-version": "v9"},
    {"enforce": "bound", "max-expiration-seconds": "3607"},
    {"enforce": "bound", "max-expiration-seconds": "600"},
    {"enforce": "strict", "max-expiration-seconds": "0000000000000000000007200"},
    {"enforce": "bound", "max-expiration-seconds": "1h"},
    {"enforce": "bound", "max-expiration-seconds": "99999999999999999999"},
    {"enforce": "strict", "max-expiration-seconds": "599", "allowed-audiences": ""},
    {"enforce": "bound", "allowed-audiences": "vault, aws,\tvault ,"},
    {"enforce": "strict", "allowed-audiences": "vault, https://a b"},
    {"enforce": "bound", "allowed-audiences": "é,x,\n y"},
    {
        "enforce": "bound",
        "allowed-audiences": ",".join(
            f"https://audience-{number}.example.com" for number in range(200)
        ),
    },
    {"enforce": "bound", "allowed-audiences": "v," * 4097},
    {"max-expiration-seconds": "31536000", "allowed-audiences": "vault"},
    {"enforce": "bound", "allowed-audiences": "\u0378,é,vault,\U0001fadf"},
    {"enforce": "bound", "allowed-audiences": "vault,a\u200bb"},
    {"enforce": "bound", "allowed-audiences": "vault,a\u00adb"},
    {"max-expiration-seconds": "4294967296", "enforce": "bound", "allowed-audiences": "a\u2003b"},
    {
        "max-expiration-seconds": "٣٦٠٠",
        "enforce": "strict",
        "pod-overrides": "denied",
        "warn": "strict",
    },
]
"""Annotations, good and bad, by their short names."""
CLUSTERS = [
    ClusterPolicy(api_audiences=(API,)),
    ClusterPolicy(api_audiences=(API,), enforce_floor="bound"),
    ClusterPolicy(enforce_floor="strict", enforce_floor_max_expiration_seconds=86400),
    ClusterPolicy(
        api_audiences=(API,),
        locks=Locks(
            max_expiration_seconds=1800, allowed_audiences=frozenset({"vault", "é", "\u0378"})
        ),
    ),
    ClusterPolicy(
        api_audiences=("other", API),
        enforce_floor="bound",
        enforce_floor_max_expiration_seconds=7200,
        locks=Locks(max_expiration_seconds=604800, allowed_audiences=frozenset()),
    ),
]
"""Configurations as the replicas write them."""


class Generator:
    """Pods by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pod(self, name: str) -> Json:
        """A pod that passes the API server's validation; its service account does not automount."""
        chance = self._random
        volumes = [self._volume(number) for number in range(chance.choice([0, 1, 1, 2, 3]))]
        spec: Json = {
            "containers": [
                self._container(f"c{number}", volumes) for number in range(chance.choice([1, 1, 2]))
            ]
        }
        if chance.random() < 0.3:
            sidecar = {"restartPolicy": "Always"} if chance.random() < 0.5 else {}
            spec["initContainers"] = [{**self._container("init", volumes), **sidecar}]
        if volumes:
            spec["volumes"] = volumes
        annotations = (
            {names.DOMAIN + "enforce": "off", names.STATUS: "injected"}
            if chance.random() < 0.1
            else {}
        )
        annotations |= chance.choice([{}, {names.INJECT: "disabled"}, {names.INJECT: "enabled"}])
        return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}

    def _volume(self, number: int) -> Json:
        chance = self._random
        name = chance.choice(
            [
                f"v{number}",
                f"kube-api-access-v{number}",
                "boundtoken" if number == 0 else f"w{number}",
            ]
        )
        match chance.randrange(8):
            case 0:
                return {"name": name, "emptyDir": {}}
            case 1:
                return {"name": name, "projected": {"sources": None}}
            case 2:
                return {
                    "name": name,
                    "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}]},
                }
            case 3 | 4:
                return {"name": name, "projected": {"sources": self._api_access()}}
        tokens = [self._token(index) for index in range(chance.choice([1, 1, 1, 2, 3]))]
        return {
            "name": name,
            "projected": {"sources": [*tokens, *chance.choice([[], [{"secret": {"name": "s"}}]])]},
        }

    def _token(self, number: int = 0) -> Json:
        token: Json = {"path": self._random.choice(["token", f"t{number}"])}
        if (audience := self._random.choice(AUDIENCES)) is not None:
            token["audience"] = audience
        if (seconds := self._random.choice(SECONDS)) is not None:
            token["expirationSeconds"] = seconds
        return {"serviceAccountToken": token}

    def _api_access(self) -> list[Json]:
        """The shape of the automounted volume, or nearly."""
        field = self._random.choice(
            ["metadata.namespace", "metadata.namespace", "metadata.namespace", "metadata.name"]
        )
        item = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": field}}
        sources: list[Any] = [
            self._token(),
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {"downwardAPI": {"items": [item]}},
        ]
        if self._random.random() < 0.1:
            sources.append({"configMap": {"name": "openshift-service-ca.crt"}})
        return sources

    def _container(self, name: str, volumes: list[Json]) -> Json:
        mounts = []
        for number, volume in enumerate(volumes):
            if self._random.random() < 0.6:
                mount: Json = {"name": volume["name"], "mountPath": f"/m{number}"}
                mount |= self._random.choice(
                    [{"readOnly": True}, {"readOnly": True}, {"readOnly": False}, {}]
                )
                mount |= self._random.choice(
                    [{}, {}, {}, {"subPath": "token"}, {"subPathExpr": "$(A)"}]
                )
                mounts.append(mount)
        made: Json = {
            "name": name,
            "image": "registry.example/app:1",
            "env": [{"name": "A", "value": "token"}],
        }
        return {**made, "volumeMounts": mounts} if mounts else made
