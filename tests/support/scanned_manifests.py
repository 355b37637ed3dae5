"""Manifests for `boundtoken scan -f`, and what it tells of them."""

import json
from typing import Any

import yaml

from tests.support.builders import Json, a_deployment
from tests.support.scanning import run_scan
from webhook.core import names


def a_space(name: str = "shop", **annotations: str) -> Json:
    given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "annotations": given, "labels": {"team": name}}}  # fmt: skip


def a_workload(name: str = "cart", **labels: str) -> Json:
    made = {**a_deployment(), "apiVersion": "apps/v1", "kind": "Deployment"}
    made["metadata"] = {"name": name, "namespace": "shop", "labels": labels}
    return made


def scanned(*documents: Json, flags: tuple[str, ...] = ()) -> tuple[int, Json]:
    """The exit code and the JSON for these documents, in a stream of YAML."""
    text = yaml.safe_dump_all(documents)
    code, out, err = run_scan("-f", "-", "-o", "json", *flags, stdin=text)
    assert err == ""
    return code, dict(json.loads(out))


ON: Any = {"inject": "enabled", "automount": "disabled"}
