"""The contexts of a kubeconfig, read without the packages that read the rest of it: they take
longer to import than a person waits.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MAX_KUBECONFIG_BYTES = 1 << 20
MAX_FILES = 50
"""Of KUBECONFIG, which names one for each cluster."""


def contexts(flags: Mapping[str, str]) -> list[str]:
    """The contexts of the kubeconfig. What is no text in it is left out, and so is a file that is
    empty or cannot be read: those beside it have contexts.
    """
    found: set[str] = set()
    for file in kubeconfig(flags).split(os.pathsep)[:MAX_FILES]:
        with contextlib.suppress(Exception):
            found.update(_in_file(Path(file).expanduser()))
    return sorted(found)


def _in_file(path: Path) -> set[str]:
    """Raises: OSError, yaml.YAMLError, and whatever a file of another shape leads to"""
    if not path.is_file():  # a pipe would be waited for
        return set()
    with path.open("rb") as opened:
        content = yaml.load(opened.read(MAX_KUBECONFIG_BYTES), _Loader)  # noqa: S506  (a safe one)
    names = {str(context["name"]) for context in content["contexts"]}
    return {name for name in names if name and name.isprintable()}


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def kubeconfig(flags: Mapping[str, str]) -> str:
    """The files, which a shell has not expanded yet in a line that is being typed."""
    given = flags.get("kubeconfig")
    if given:
        return str(Path(given).expanduser())
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
