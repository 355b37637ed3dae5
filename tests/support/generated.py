"""Pods by a seed, of every shape and size that the API server takes, with the namespace that each
is created in.

Random, and not Hypothesis: tens of thousands of them are wanted, and sizes that it would rather not
draw.
"""

import random
from typing import Any

from tests.support.builders import Json, a_container, api_access
from tests.support.strategies import MOUNT_PATHS, POOLS
from webhook.core import names

SIZES = (0, 1, 1, 1, 2, 2, 3, 5, 8, 40)
"""Of containers, volumes, mounts and lists: mostly small, now and then far more than anybody
has."""
VOLUMES = (
    "kube-api-access-x7k2p", "kube-api-access-other", "kube-api-access-", "boundtoken", "boundtoken-0a1b2c3d", "boundtoken-tokens",
    "boundtoken-tokens-0a1b2c3d", "boundtoken-mine", "data",
)  # fmt: skip
LIVES = (None, 600, 1800, 3600, 3607, 86400, 1 << 32)
AUDIENCES = (None, None, "", "vault", "x", "https://elsewhere.example.com")
FURTHER: Json = {"configMap": {"name": "openshift-service-ca.crt"}}
LONG = {
    names.TOKENS: ",".join(f"file-{number}=vault;{600 + number}" for number in range(60)),
    names.SKIP_CONTAINERS: ",".join(f"c{number}" for number in range(0, 80, 2)),
    names.AUDIENCE: "https://" + "a" * 504,
    names.MOUNT_PATH: "/a" * 2047,
}
"""Values as long as they may be."""


class Generator:
    """The same pods for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def namespace(self) -> dict[str, str]:
        """Annotations that mostly ask for something."""
        chance = self._chance
        switches = {
            names.INJECT: chance.choice(["enabled", "enabled", "replace", "replace", "disabled"]),
            names.AUTOMOUNT: chance.choice(["enabled", "disabled"]),
        }
        return {**switches, **self._annotations(names.FOR_NAMESPACES, 0.15)}

    def pod(self) -> Json:
        """A pod as its author posts it: before the ServiceAccount plugin and before us."""
        chance = self._chance
        volumes = [
            self._volume(name)
            for name in dict.fromkeys(
                self._many(lambda number: chance.choice((*VOLUMES, f"v{number}")))
            )
        ]
        reachable = (
            [*(volume["name"] for volume in volumes), *VOLUMES[3:6]]
            if chance.random() < 0.1
            else [volume["name"] for volume in volumes]
        )
        spec: Json = {
            "containers": self._many(lambda number: self._container(f"c{number}", reachable))
            or [a_container("c0")]
        }
        inits = (
            self._many(lambda number: self._container(f"i{number}", reachable))
            if chance.random() < 0.3
            else chance.choice([None, list[Any]()])
        )
        spec |= (
            chance.choice([{}, {"initContainers": inits}])
            if not inits
            else {"initContainers": inits}
        )
        spec |= (
            {"volumes": volumes}
            if volumes
            else chance.choice([{}, {"volumes": None}, {"volumes": []}])
        )
        spec |= chance.choice(
            [
                {},
                {},
                {},
                {"automountServiceAccountToken": True},
                {"automountServiceAccountToken": False},
            ]
        )
        own = self._annotations(names.FOR_PODS | {names.STATUS}, 0.12)
        return {"metadata": {"name": "web", **({"annotations": own} if own else {})}, "spec": spec}

    def account_opts_out(self) -> bool:
        """Whether the pod's service account says `automountServiceAccountToken: false`."""
        return self._chance.random() < 0.25

    def _many(self, make: Any) -> list[Any]:
        return [make(number) for number in range(self._chance.choice(SIZES))]

    def _annotations(self, known: frozenset[str], likely: float) -> dict[str, str]:
        chance = self._chance
        drawn = [name for name in sorted(known & POOLS.keys()) if chance.random() < likely]
        return {
            name: LONG[name]
            if name in LONG and chance.random() < 0.1
            else chance.choice(POOLS[name])
            for name in drawn
        }

    def _volume(self, name: str) -> Json:
        chance = self._chance
        more = tuple(
            chance.choice([FURTHER, self._token()]) for _ in range(chance.choice([0, 0, 0, 1, 30]))
        )
        match chance.randrange(6):
            case 0 | 1 | 2:
                return api_access(
                    name, seconds=chance.choice(LIVES), audience=chance.choice(AUDIENCES), more=more
                )
            case 3 | 4:
                return {
                    "name": name,
                    "projected": {
                        "sources": [
                            self._token(),
                            *(source for source in more if source is not FURTHER),
                        ]
                    },
                }
        return {"name": name, "emptyDir": {}}

    def _token(self) -> Json:
        token = {"path": self._chance.choice(["token", "a", "b"])}
        fields = {
            "audience": self._chance.choice(AUDIENCES),
            "expirationSeconds": self._chance.choice(LIVES),
        }
        return {
            "serviceAccountToken": token
            | {key: value for key, value in fields.items() if value is not None}
        }

    def _container(self, name: str, volumes: list[str]) -> Json:
        chance = self._chance
        paths = dict.fromkeys(
            self._many(lambda number: chance.choice((*MOUNT_PATHS, f"/m{number}")))
        )
        container = (
            a_container(name, *((chance.choice(volumes), path) for path in paths))
            if volumes
            else a_container(name)
        )
        taken = {mount["mountPath"] for mount in container.get("volumeMounts", ())}
        device = chance.choice((names.DEFAULT_PATH, "/bound", names.TOKENS_PATH, "/disk"))
        if chance.random() < 0.1 and device not in taken and device != names.DEFAULT_PATH:
            container["volumeDevices"] = [{"name": "disk", "devicePath": device}]
        return container


def copies_nothing(pod: Json) -> bool:
    """Whether no volume has a name that admission gives: such a one was copied from another pod."""
    taken = (names.VOLUME, names.AUTOMOUNTED_PREFIX)
    return not any(volume["name"].startswith(taken) for volume in pod["spec"].get("volumes") or ())
