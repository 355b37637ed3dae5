"""The contexts of a kubeconfig, read without the packages that read the rest of it: they take
longer to import than a person waits.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MAX_KUBECONFIG_BYTES = 1 << 20


def contexts(flags: Mapping[str, str]) -> list[str]:
    """The contexts of the kubeconfig. What is no text in it is left out.

    Raises: OSError, yaml.YAMLError, and whatever a file of another shape leads to
    """
    found: dict[str, None] = {}
    for file in kubeconfig(flags).split(os.pathsep):
        path = Path(file).expanduser()
        if not path.is_file():
            continue
        with path.open("rb") as opened:
            content = yaml.load(opened.read(MAX_KUBECONFIG_BYTES), _Loader)  # noqa: S506  (a safe one)
        names = (str(context["name"]) for context in content.get("contexts") or ())
        found |= dict.fromkeys(name for name in names if name.isprintable())
    return sorted(found)


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def kubeconfig(flags: Mapping[str, str]) -> str:
    """The files, which a shell has not expanded yet in a line that is being typed."""
    given = flags.get("kubeconfig")
    if given:
        return str(Path(given).expanduser())
    return os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
