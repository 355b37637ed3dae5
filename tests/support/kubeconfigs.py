"""Kubeconfigs of people, for servers that a test plays."""

from pathlib import Path
from typing import Any

import yaml


def a_kubeconfig(path: Path, server: str, *, namespace: str = "", **cluster: Any) -> Path:
    """A file with one context, `admin`, whose user has a token; `cluster` is added to its
    cluster's fields.
    """
    context = {
        "cluster": "prod",
        "user": "admin",
        **({"namespace": namespace} if namespace else {}),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "prod", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "admin", "user": {"token": "of-the-admin"}}],
        "contexts": [{"name": "admin", "context": context}],
        "current-context": "admin",
    }
    path.write_text(yaml.safe_dump(content))
    return path
