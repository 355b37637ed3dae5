"""`boundtoken check` in the process of a test: starting one takes longer than its work."""

import json

from tests.support.builders import Json
from tests.support.in_process import run_here
from webhook.cli.check import command


def run_check(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    return run_here(command, "check", *words, stdin=stdin)


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
