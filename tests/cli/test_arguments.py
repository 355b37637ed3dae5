"""No token is an argument: others see it in the list of processes."""

import pytest

from tests.support.claims import a_token
from tests.support.processes import boundtoken

SIGNED = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJqdGkiOiJ4In0.c2lnbmF0dXJlLW9mLWl0"


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "trace", SIGNED, "--audit-log", "x"],
        ["token", "trace", f"JTI={SIGNED}", "--audit-log", "x"],
        ["token", "trace", "x", SIGNED, "--nonsense"],
        ["token", "trace", "x", "--audit-log", f"Bearer {SIGNED}"],
        ["token", "watch", "--nonsense", SIGNED],
        [SIGNED],
        ["token", "trace", a_token({}), "--audit-log", "x"],
    ],
    ids=" ".join,
)
def test_a_token_as_an_argument_is_refused_and_not_repeated(arguments: list[str]) -> None:
    result = boundtoken(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "an argument is a token" in result.stderr
    assert not any(part in result.stderr for part in SIGNED.split("."))


@pytest.mark.parametrize("name", ["my-file.tar.gz", "a.b.c", "eyJ.x.y.txt", "audit.log.1.gz"])
def test_a_file_with_dots_is_no_token(name: str) -> None:
    assert "an argument is a token" not in boundtoken("config", "check", name).stderr
