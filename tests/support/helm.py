"""Helm, as a person runs it, and what it renders of the chart."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.controlplane import build as controlplane
from tests.helm import build
from tests.support.builders import Json
from tests.support.paths import ROOT
from webhook import cluster_config
from webhook.core import names

CHART = ROOT / "manifests/chart"
OF_HELM = (
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
)
"""Labels that the chart gives to every object, and kustomize to none."""
WITHOUT_NAMESPACE = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
"""Kinds to which kustomize gives a namespace, which the API server drops."""
Objects = dict[tuple[str, str, str], Json]
"""By kind, namespace and name."""
_APPLY = "?dryRun=All&fieldManager=helm&force=true&fieldValidation=Strict"
_RESOURCES = {
    "ConfigMap": "configmaps",
    "NetworkPolicy": "networkpolicies",
    "PriorityClass": "priorityclasses",
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
}
"""Resources of kinds, where another letter than an s makes them."""


def helm(
    *arguments: str, kubeconfig: Path | None = None, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """One command; it finds nothing of this machine's own Helm."""
    folder = "/nonexistent/boundtoken"
    own = dict.fromkeys(("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"), folder)
    return subprocess.run(
        [str(build.binary()), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=480,
        env={**os.environ, **own, "KUBECONFIG": str(kubeconfig or "/nonexistent")},
    )


def rendered(
    values: Mapping[str, Any] | None = None,
    *arguments: str,
    namespace: str = names.NAMESPACE,
    release: str = names.APP,
) -> list[Json]:
    """The objects that the chart makes of values, the pod of its test too.

    Raises: ValueError, with what Helm said
    """
    options = ["--namespace", namespace, "--values", "-", *arguments]
    done = helm("template", release, str(CHART), *options, stdin=yaml.safe_dump(dict(values or {})))
    if done.returncode:
        raise ValueError(done.stderr)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kustomized(folder: Path) -> list[Json]:
    """The objects of a kustomization."""
    command = [str(controlplane.binary()), "kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def comparable(objects: list[Json]) -> Objects:
    """What an object means, whoever rendered it: without Helm's labels, expressions with single
    blanks (kustomize breaks lines of its own), and the configuration as what it says.
    """
    found: Objects = {}
    for item in map(_with_single_blanks, objects):
        metadata = {**item["metadata"]}
        if item["kind"] in WITHOUT_NAMESPACE:
            metadata.pop("namespace", None)
        labels = {key: text for key, text in metadata["labels"].items() if key not in OF_HELM}
        meant = {**item, "metadata": {**metadata, "labels": labels}}
        if names.CONFIG_KEY in item.get("data", ()):
            text = item["data"][names.CONFIG_KEY]
            meant["data"] = {names.CONFIG_KEY: cluster_config.parse(text).policy}
        place = (item["kind"], metadata.get("namespace", ""), metadata["name"])
        if place in found:
            raise ValueError(f"{place} is there twice")
        found[place] = meant
    return found


def _with_single_blanks(value: Any, key: str = "") -> Any:
    """Without blanks that mean nothing to CEL."""
    if isinstance(value, dict):
        return {name: _with_single_blanks(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_with_single_blanks(part) for part in value]
    if key in ("expression", "messageExpression"):
        return " ".join(value.split())
    return value


def dry_apply_path(item: Json) -> str:
    """Where an object is applied as Helm does it, strictly and in a dry run."""
    metadata, version = item["metadata"], item["apiVersion"]
    base = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    resource = _RESOURCES.get(item["kind"], f"{item['kind'].lower()}s")
    place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{base}{place}/{resource}/{metadata['name']}{_APPLY}"
