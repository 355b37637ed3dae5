"""One decision in a file and in the webhook, over generated pods in every style of text."""

import json
import os
from typing import Any

import pytest
import yaml

from tests.support.builders import Json
from tests.support.generated import Generator
from webhook.cli.main import parser
from webhook.cli.manifests import reading
from webhook.cli.manifests.changing import Changed, Changer
from webhook.cli.manifests.policies import FLAGS, Policies
from webhook.core import names, policy
from webhook.core.policy import ClusterPolicy
from webhook.simulation.admission import Admission, with_automounted
from webhook.yamledit.edit import same

PODS = int(os.environ.get("BOUNDTOKEN_PODS", "200"))


class Indented(yaml.SafeDumper):
    """Dashes are further in than their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def styles(value: Json) -> list[str]:
    """The object as a text, in several styles."""
    return [
        yaml.safe_dump(value, sort_keys=False),
        yaml.dump(value, Dumper=Indented, sort_keys=False, indent=4).replace("\n", "\r\n"),
        json.dumps(value, indent="\t"),
        json.dumps(value, separators=(",", ":")) + "\n",
        yaml.safe_dump(value, default_flow_style=True, width=60).rstrip("\n"),
        "---\n# first\n" + yaml.safe_dump(value, default_style="'") + "...\n",
        yaml.safe_dump(value, sort_keys=False).replace("\n", "  # a comment\n").rstrip("\n"),
    ]


def usable(annotations: dict[str, str], cluster: ClusterPolicy) -> dict[str, str]:
    """Those that flags may have: they are for injection, and no fault."""
    kept = {
        name: value
        for name, value in annotations.items()
        if name.removeprefix(names.DOMAIN) in FLAGS
    }
    while faults := policy.resolve_namespace(cluster, kept).resolution.faults:
        kept = {name: value for name, value in kept.items() if name != faults[0].annotation}
    return kept


def change(changer: Changer, text: str) -> Changed:
    (result,) = changer.change([reading.source_of("web", None, text.encode())])
    return result


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.timeout(1800)
def test_a_file_gets_what_the_webhook_decides_and_gives_it_back_to_the_byte(seed: int) -> None:
    generator, cluster = Generator(100 + seed), ClusterPolicy()
    uninject = Changer(None, ())
    changed = 0
    for number in range(PODS // 4):
        annotations = usable(generator.namespace(), cluster)
        pod = {"apiVersion": "v1", "kind": "Pod", **json.loads(json.dumps(generator.pod()))}
        text = styles(pod)[number % 7]
        (value,) = (
            document.value for document in reading.source_of("", None, text.encode()).documents
        )
        assert same(value, pod)
        flags = [
            f"--{name.removeprefix(names.DOMAIN)}={value}" for name, value in annotations.items()
        ]
        flags = flags or ["--automount=enabled"]  # without any, nothing is known of the namespace
        policies = Policies(parser().parse_args(["inject", "-", "-n", "shop", *flags]))
        inject = Changer(policies, ())
        result = change(inject, text)
        there = policies.admission("shop")
        assert isinstance(there, Admission)
        live = there.admit(with_automounted(pod))
        assert result.entries[0].reason == live.mutation.reason
        # A pod of the file, admitted later, is not changed.
        (document,) = reading.source_of("", None, result.text.encode()).documents
        late = with_automounted(document.value)
        assert there.admit(late).object == late
        assert change(inject, result.text).text == result.text
        if result.is_changed:
            changed += 1
            assert change(uninject, result.text).text == text
    assert changed > PODS // 4 // 2
