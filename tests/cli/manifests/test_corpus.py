"""inject and uninject over YAML that nobody here wrote: to the byte."""

import itertools
import os

import pytest

from tests.support.corpus import workloads
from webhook.cli.main import parser
from webhook.cli.manifests import reading
from webhook.cli.manifests.changing import Changer
from webhook.cli.manifests.policies import Policies
from webhook.errors import BadInput

FILES = int(os.environ.get("BOUNDTOKEN_CORPUS", "150"))
"""Of the sample; 0 for every file, which takes five minutes."""


@pytest.mark.parametrize(
    "flags",
    [["--inject=enabled", "--automount=disabled"], ["--inject=replace", "--tokens=a=vault"]],
    ids=" ".join,
)
@pytest.mark.timeout(1800)
def test_what_inject_writes_into_foreign_files_is_taken_out_to_the_byte(flags: list[str]) -> None:
    parsed = parser().parse_args(["inject", "-", *flags])
    inject, uninject = Changer(Policies(parsed), ()), Changer(None, ())
    counts = dict.fromkeys(("files", "changed", "unchanged", "refused"), 0)
    for path in itertools.islice(workloads(), FILES or None):
        counts["files"] += 1
        try:
            source = reading.source_of(str(path), path, path.read_bytes())
            (result,) = inject.change([source])
        except BadInput as problem:
            assert "safely" not in str(problem), problem
            counts["refused"] += 1
            continue
        assert source.text.encode() == path.read_bytes()
        counts["changed" if result.is_changed else "unchanged"] += 1
        written = reading.source_of(str(path), path, result.text.encode())
        (again,) = inject.change([written])
        assert again.text == result.text, path
        (back,) = uninject.change([written])
        if result.is_changed:
            assert back.text.encode() == path.read_bytes(), path
    print(counts)
    assert counts["changed"] > 0
    assert counts["refused"] < counts["files"] / 10
