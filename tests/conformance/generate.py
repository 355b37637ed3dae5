"""The conformance fixtures: one minimal valid pod for each level, and named tweaks of it; `make
conformance` writes them.

    <version>/<level>/pass/<rule>-N.yaml    a pod that holds to the level
    <version>/<level>/fail/<rule>-N.yaml    one that does not
    <version>/<level>/fail/<rule>-N.txt     its violations: rule, field, place

They hold in the namespace of `namespace.yaml`, with the Secrets of `secrets.yaml`, where the API
server's own audience is https://kubernetes.default.svc.cluster.local. The findings are written by
hand here, never taken from the code.
"""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
Tweak = Callable[[Json], None]
Finding = tuple[str, str, str]

HERE = Path(__file__).parent
API_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
VAULT = "https://vault.example.com"
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "conformance", "annotations": {"boundtoken.dev/allowed-audiences": VAULT}},
}
SECRETS = [
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "legacy",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": "kubernetes.io/service-account-token",
    },
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "ordinary"},
        "stringData": {"token": "no token"},
    },
]
PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN = "spec.volumes.projected.sources.serviceAccountToken"
KINDS = {
    "init container": "initContainers",
    "sidecar": "initContainers",
    "container": "containers",
    "ephemeral container": "ephemeralContainers",
}


def base() -> Json:
    """The smallest pod that every level allows: it has no token."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod"},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": "registry.example/app:1"}],
        },
    }


def token(
    seconds: int | None = None, audience: str | None = None, *, name: str = "t", mixed: bool = False
) -> Tweak:
    """A projected token in a volume of its own."""

    def tweak(pod: Json) -> None:
        source: Json = {"path": "token"}
        if seconds is not None:
            source["expirationSeconds"] = seconds
        if audience is not None:
            source["audience"] = audience
        sources: list[Json] = [{"serviceAccountToken": source}]
        if mixed:
            sources.insert(0, {"secret": {"name": "ordinary"}})
        pod["spec"].setdefault("volumes", []).append(
            {"name": name, "projected": {"sources": sources}}
        )

    return tweak


def automounted(seconds: int) -> Tweak:
    """The volume and the mount of the ServiceAccount plugin, as a pod that was copied has them."""

    def tweak(pod: Json) -> None:
        name = "kube-api-access-x7k2p"
        namespace = {
            "path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
        }
        sources = [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {"downwardAPI": {"items": [namespace]}},
        ]
        pod["spec"].setdefault("volumes", []).append(
            {"name": name, "projected": {"sources": sources}}
        )
        mount_in("container", name)(pod)

    return tweak


def container(kind: str, pod: Json) -> Json:
    """The container of this kind, made where there is none."""
    if kind == "container":
        app: Json = pod["spec"]["containers"][0]
        return app
    made: Json = {"name": kind.replace(" ", "-"), "image": "registry.example/tool:1"}
    if kind == "sidecar":
        made["restartPolicy"] = "Always"
    pod["spec"].setdefault(KINDS[kind], []).append(made)
    return made


def mount_in(kind: str, volume: str = "t", *, read_only: bool = True, **fields: str) -> Tweak:
    """A mount of a volume."""

    def tweak(pod: Json) -> None:
        mount: Json = {"name": volume, "mountPath": PATH, **fields}
        if read_only:
            mount["readOnly"] = True
        container(kind, pod).setdefault("volumeMounts", []).append(mount)

    return tweak


def env(kind: str, secret: str) -> Tweak:
    """A variable out of a Secret."""

    def tweak(pod: Json) -> None:
        ref = {"name": secret, "key": "token"}
        container(kind, pod).setdefault("env", []).append(
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": ref}}
        )

    return tweak


def env_from(kind: str, secret: str) -> Tweak:
    """Every variable of a Secret."""
    return lambda pod: (
        container(kind, pod).setdefault("envFrom", []).append({"secretRef": {"name": secret}})
    )


def secret_volume(secret: str, *, name: str = "s") -> Tweak:
    return lambda pod: (
        pod["spec"]
        .setdefault("volumes", [])
        .append({"name": name, "secret": {"secretName": secret}})
    )


def projected_secret(secret: str) -> Tweak:
    volume = {"name": "s", "projected": {"sources": [{"secret": {"name": secret}}]}}
    return lambda pod: pod["spec"].setdefault("volumes", []).append(volume)


def annotated(name: str, value: str) -> Tweak:
    return lambda pod: pod["metadata"].setdefault("annotations", {}).update({name: value})


def on_node(pod: Json) -> None:
    pod["spec"]["nodeName"] = "node-1"


def an_empty_dir(pod: Json) -> None:
    pod["spec"]["volumes"] = [{"name": "boundtoken", "emptyDir": {}}]
    mount_in("container", "boundtoken")(pod)


def lifetime(volume: str = "t") -> Finding:
    return ("token-lifetime", f"{TOKEN}.expirationSeconds", f'volume "{volume}"')


def audience(volume: str = "t") -> Finding:
    return ("token-audience", f"{TOKEN}.audience", f'volume "{volume}"')


def place(kind: str) -> str:
    name = "app" if kind == "container" else kind.replace(" ", "-")
    return f'{"init container" if kind == "sidecar" else kind} "{name}"'


def mounted(kind: str, field: str) -> Finding:
    return ("token-mount", f"spec.{KINDS[kind]}.volumeMounts.{field}", place(kind))


def legacy(kind: str, field: str) -> Finding:
    return ("legacy-token", f"spec.{KINDS[kind]}.{field}.name", place(kind))


def on_host(pod: Json) -> None:
    pod["spec"]["hostNetwork"] = True


MIRROR: list[Tweak] = [on_node, on_host, annotated("kubernetes.io/config.mirror", "x")]
SPOOFED = annotated("boundtoken.dev/status", "injected policy=00000000")
BOUND_PASS: list[tuple[str, list[Tweak]]] = [
    ("base", []),
    ("token-lifetime", [token()]),
    ("token-lifetime", [token(600)]),
    ("token-lifetime", [token(86400)]),
    ("token-lifetime", [token(3607, VAULT)]),
    ("token-lifetime", [token(3600), mount_in("container")]),
    ("token-lifetime", [an_empty_dir]),
    ("token-lifetime", [token(3600), on_node]),
    ("token-lifetime", MIRROR),
    ("token-audience", [token(3600, API_AUDIENCE)]),
    ("token-audience", [token(3600, VAULT)]),
    ("legacy-token", [secret_volume("ordinary")]),
    ("legacy-token", [projected_secret("ordinary")]),
    *[("legacy-token", [env(kind, "ordinary"), env_from(kind, "ordinary")] if kind == "container" else [env(kind, "ordinary")]) for kind in KINDS],
]  # fmt: skip
BOUND_FAIL: list[tuple[list[Finding], list[Tweak]]] = [
    ([lifetime()], [token(86401)]),
    ([lifetime()], [token(3607)]),
    ([lifetime()], [token(3607, API_AUDIENCE)]),
    ([lifetime()], [token(4294967296, VAULT)]),
    ([lifetime()], [token(3607, mixed=True), mount_in("container")]),
    ([lifetime("kube-api-access-x7k2p")], [automounted(3607)]),
    ([lifetime("boundtoken")], [token(3607, name="boundtoken"), SPOOFED]),
    ([lifetime()], [token(3607), on_node]),
    ([lifetime()], [token(3607), *MIRROR]),
    ([lifetime()], [token(3607), annotated("boundtoken.dev/enforce", "off")]),
    ([lifetime("t"), lifetime("u")], [token(3607), token(3607, name="u")]),
    ([audience()], [token(3600, "https://elsewhere.example.com")]),
    ([lifetime(), audience()], [token(90000, "https://elsewhere.example.com")]),
    ([("legacy-token", "spec.volumes.secret.secretName", 'volume "s"')], [secret_volume("legacy")]),
    (
        [("legacy-token", "spec.volumes.projected.sources.secret.name", 'volume "s"')],
        [projected_secret("legacy")],
    ),
    *[([legacy(kind, "env.valueFrom.secretKeyRef")], [env(kind, "legacy")]) for kind in KINDS],
    *[([legacy(kind, "envFrom.secretRef")], [env_from(kind, "legacy")]) for kind in KINDS],
]
STRICT_PASS: list[tuple[str, list[Tweak]]] = [
    ("base", []),
    ("token-lifetime", [token(3600), mount_in("container")]),
    ("token-lifetime", [token(3600, name="kube-api-access-x7k2p")]),
    ("token-audience", [token(3600, VAULT)]),
    ("legacy-token", [secret_volume("ordinary")]),
    ("automounted-volume", [token(3600, name="boundtoken"), mount_in("container", "boundtoken")]),
    *[("token-mount", [token(3600), mount_in(kind)]) for kind in KINDS],
    (
        "token-mount",
        [secret_volume("ordinary"), mount_in("container", "s", read_only=False, subPath="token")],
    ),
]
STRICT_FAIL: list[tuple[list[Finding], list[Tweak]]] = [
    ([lifetime()], [token(3601)]),
    ([lifetime()], [token(3607)]),
    ([audience()], [token(3600, "https://elsewhere.example.com")]),
    ([("legacy-token", "spec.volumes.secret.secretName", 'volume "s"')], [secret_volume("legacy")]),
    ([("automounted-volume", "spec.volumes.projected", 'volume "kube-api-access-x7k2p"')], [automounted(3600)]),
    *[([mounted(kind, "readOnly")], [token(3600), mount_in(kind, read_only=False)]) for kind in KINDS],
    *[
        ([mounted(kind, "subPath")], [token(3600), mount_in(kind, subPath="token")])
        for kind in KINDS
        if kind != "ephemeral container"  # the API server refuses it there
    ],
    ([mounted("container", "subPathExpr")], [token(3600), mount_in("container", subPathExpr="$(TOKEN)"), env("container", "ordinary")]),
]  # fmt: skip


Passing = list[tuple[str, list[Tweak]]]
Failing = list[tuple[list[Finding], list[Tweak]]]
FIXTURES: dict[tuple[str, str], tuple[Passing, Failing]] = {
    ("v1", "bound"): (BOUND_PASS, BOUND_FAIL),
    ("v1", "strict"): (STRICT_PASS, STRICT_FAIL),
}
"""For each version and level what passes and what fails; a test compares the keys with those of the
rules."""


def files() -> dict[str, str]:
    """Every fixture, by its path below this folder."""
    made: dict[str, str] = {}
    numbers: Counter[str] = Counter()
    for (version, level), (passing, failing) in FIXTURES.items():
        made[f"{version}/namespace.yaml"] = _yaml(NAMESPACE)
        made[f"{version}/secrets.yaml"] = yaml.safe_dump_all(SECRETS, sort_keys=False)
        for rule, tweaks in passing:
            made[_path(f"{version}/{level}/pass/{rule}", numbers) + ".yaml"] = _yaml(
                tweaked(tweaks)
            )
        for findings, tweaks in failing:
            path = _path(f"{version}/{level}/fail/{findings[0][0]}", numbers)
            made[path + ".yaml"] = _yaml(tweaked(tweaks))
            made[path + ".txt"] = "".join(
                f"{rule} {field} {where}\n" for rule, field, where in findings
            )
    return made


def tweaked(tweaks: list[Tweak]) -> Json:
    pod = copy.deepcopy(base())
    for tweak in tweaks:
        tweak(pod)
    return pod


def _path(stem: str, numbers: Counter[str]) -> str:
    numbers[stem] += 1
    return f"{stem}-{numbers[stem]}"


def _yaml(document: Json) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def main() -> None:
    """Write them, and take away those that are no more."""
    expected = files()
    for old in [*HERE.glob("v*/**/*.yaml"), *HERE.glob("v*/**/*.txt")]:
        if str(old.relative_to(HERE)) not in expected:
            old.unlink()
    for name, text in expected.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_text(text)


if __name__ == "__main__":
    main()
