"""`boundtoken export policies`: the policies that the API server enforces by itself, generated from
the rules, as YAML to apply.
"""

import argparse
from typing import Any

import yaml

from ..core import names
from ..enforcement.policies import bindings, manifests
from .config import parse

HEADER = """\
# What the API server enforces by itself, whatever becomes of boundtoken's replicas: made by
#   boundtoken export policies --validating
# from the rules in webhook/enforcement/rules.py; a test compares. Change those, then run: make policies
#
# Each binding names itself as its parameter. Its annotations boundtoken.dev/… are the configuration's part (floor, locks,
# exclusions, exemptions), kept by the replicas. Without --config there are none here, so that applying this again takes none away.
# In an emergency (docs/operations.md):
#   kubectl delete validatingadmissionpolicybindings boundtoken-pods boundtoken-token-requests boundtoken-legacy-secrets
#   kubectl delete validatingwebhookconfigurations boundtoken
"""


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, and lists as Kubernetes manifests have them."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def policies(parsed: argparse.Namespace) -> int:
    """Print the policies and their bindings, with a configuration's settings if one is given."""
    settings = None
    if parsed.config is not None:
        cluster = parse(parsed.config, parsed.namespace or names.NAMESPACE)
        settings = bindings.annotations(cluster)
    print(render(manifests.documents(settings)), end="")
    return 0


def render(documents: list[dict[str, Any]]) -> str:
    """A YAML file of these documents, with the header that says what it is."""
    texts = [
        yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096)
        for document in documents
    ]
    return HEADER + "---\n".join(texts)
