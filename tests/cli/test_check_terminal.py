"""`boundtoken check` on a real terminal of 80 columns and 24 lines, and in a pipe."""

import re
from pathlib import Path

import msgspec

from tests.pictures.__main__ import shown
from tests.support.builders import Json
from tests.support.checking import Checked
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.played import playing
from tests.support.processes import boundtoken
from tests.support.screens import COLUMNS, LINES, screen
from webhook.checks import shipped
from webhook.checks.facts import MUTATING

SELECTOR = {"matchExpressions": [{"key": "team.example.com/" + "x" * 50, "operator": "Exists"}]}


def objects() -> Json:
    """A cluster with our mutating configuration, in which somebody has changed the first entry."""
    entries = msgspec.to_builtins(shipped.ENTRIES[MUTATING])
    first = {**entries[0], "namespaceSelector": SELECTOR, "failurePolicy": "Fail"}
    ours = {"metadata": {"name": "boundtoken"}, "webhooks": [first, *entries[1:]]}
    return {
        "/version": {"gitVersion": "v1.33.1"},
        f"/apis/admissionregistration.k8s.io/v1/{MUTATING}": [ours],
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": [],
    }


def test_no_word_is_broken_and_a_pipe_has_no_colour_and_no_bar(tmp_path: Path) -> None:
    with playing(objects()) as api:
        config = a_kubeconfig(tmp_path / "k", api.server)
        command = f"boundtoken check --no-dry-run --fix-hint --kubeconfig {config}"
        on_screen = screen(shown(command, LINES))
        words = ("check", "--no-dry-run", "--fix-hint")
        piped = boundtoken(*words, kubeconfig=config, environ={"PYTHONIOENCODING": "utf-8"})
        found = Checked("--no-dry-run", "--kubeconfig", str(config))
    assert on_screen.is_coloured
    # The patch is one word of the shell: the terminal itself goes on with it in its next lines.
    (patch,) = (line for line in piped.stdout.splitlines() if len(line) > COLUMNS)
    assert '"op":"test"' in patch
    assert on_screen.broken == (len(patch) - 1) // COLUMNS
    assert "reading the cluster" not in "".join(on_screen.lines)
    assert not re.search("[\x1b\r]|reading the cluster", piped.stdout)
    assert (piped.returncode, piped.stderr) == (1, "")
    text = " ".join(f"{one['sentence']} {one['text']}" for one in found.by_id.values())
    expected = {word for word in text.split() if len(word) < 76}
    assert len(expected) > 150
    for lines in (on_screen.lines, piped.stdout.splitlines()):
        there = set(" ".join(lines).split())
        assert {word for word in expected if not {word, f"{word}:"} & there} == set()
