"""What a program imports with the library, and what it does not until it needs it."""

import subprocess
import sys

import pytest

from webhook import tokens

HEAVY = ("aiohttp", "asyncio", "cryptography", "jwt", "ssl")


def imported(code: str) -> set[str]:
    """The heavy packages that a program has imported at its end."""
    program = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import webhook.tokens",
        "from webhook.tokens import *",
        "from webhook.tokens import JwksVerifier, TokenReviewVerifier, verify",
    ],
)
def test_the_library_imports_nothing_heavy(code: str) -> None:
    assert imported(code) == set()


def test_the_middleware_for_asgi_imports_no_server() -> None:
    assert imported("import webhook.tokens.adapters.asgi") == set()


def test_what_verifies_is_imported_when_it_is_used() -> None:
    code = "import webhook.tokens, sys\nassert 'webhook.tokens.reviewer' not in sys.modules\n"
    assert imported(code + "assert callable(webhook.tokens.verify)") == set()


def test_every_name_of_the_library_is_there() -> None:
    for name in tokens.__all__:
        assert getattr(tokens, name) is not None
    assert list(tokens.__all__) == sorted(tokens.__all__)
    with pytest.raises(AttributeError, match="'webhook.tokens' has no attribute 'verfy'"):
        _ = tokens.verfy  # type: ignore[attr-defined]
