"""All that `make chart` writes, by path in manifests/chart."""

import json
import re

from tests.chart import schema, templates, values
from tests.support.paths import ROOT
from webhook import __version__

FOLDER = ROOT / "manifests/chart"


def files() -> dict[str, str]:
    """The text of each file."""
    return {
        "Chart.yaml": _versions((FOLDER / "Chart.yaml").read_text()),
        "values.schema.json": json.dumps(schema.schema(), indent=2) + "\n",
        "README.md": values.readme(),
        "files/dashboard.json": (ROOT / "manifests/monitoring/dashboard.json").read_text(),
        **{f"templates/{name}": text for name, text in templates.made().items()},
    }


def _versions(text: str) -> str:
    """The chart and what it installs have one version."""
    return re.sub(r"^(version|appVersion): .*$", rf"\1: {__version__}", text, flags=re.MULTILINE)
