"""`boundtoken check` in the process of a test: starting one takes longer than its work."""

import contextlib
import io
import json
from unittest import mock

from tests.support.builders import Json
from webhook.cli.check import command
from webhook.cli.main import main


def run_check(*words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(command, "protect"),  # it is for a process of its own
    ):
        code = main(("check", *words))
    return code, out.getvalue(), err.getvalue()


class Checked:
    """What a run has found: its exit code, and each check by its id."""

    def __init__(self, *words: str) -> None:
        self.code, text, err = run_check(*words, "-o", "json")
        assert text, err
        self.report: Json = json.loads(text)
        self.by_id: dict[str, Json] = {one["id"]: one for one in self.report["checks"]}

    def status(self, name: str) -> str:
        return str(self.by_id[name]["status"])

    def text(self, name: str) -> str:
        return str(self.by_id[name]["text"])

    def of(self, status: str) -> dict[str, str]:
        """The texts of all with a status, by id."""
        found = self.by_id.items()
        return {name: one["text"] for name, one in found if one["status"] == status}
