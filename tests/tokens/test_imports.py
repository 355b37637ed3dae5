"""What an import costs, and what it imports: the library nothing of the clients, an adapter its own
client only.
"""

import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from webhook import tokens

TIMES_MSGSPEC = 2.0
"""About 45 ms of CPU where msgspec, its one dependency, takes 27."""
ATTEMPTS = 7
CLIENTS = {"aiohttp", "grpc", "httpx", "kubernetes", "kubernetes_asyncio", "requests"}
COSTLY = {"asyncio", "cryptography", "http.client", "jwt", "ssl", "urllib3", "yaml"}
"""What takes long to import; the call that needs it imports it."""
ADAPTERS = {
    "aiohttp_auth": ("aiohttp", "aiohttp>=3.12"),
    "grpc_aio_auth": ("grpc", "boundtoken[grpc]"),
    "grpc_auth": ("grpc", "boundtoken[grpc]"),
    "httpx_auth": ("httpx", "boundtoken[httpx]"),
    "kubernetes_aio_client": ("kubernetes", "kubernetes>=37"),
    "kubernetes_asyncio_client": ("kubernetes_asyncio", "boundtoken[kubernetes-asyncio]"),
    "kubernetes_client": ("kubernetes", "kubernetes>=34"),
    "requests_auth": ("requests", "boundtoken[requests]"),
}
"""Each with the client that it is for, and what to install where that is missing."""
THEIRS = {"kubernetes": {"aiohttp", "requests"}, "kubernetes_asyncio": {"aiohttp"}}
"""What a client imports itself, in some versions."""


def python(code: str, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_after(code: str) -> set[str]:
    return set(python(f"{code}\nimport sys\nprint(*sys.modules)").split())


@pytest.mark.parametrize(
    "code",
    [
        "import webhook.tokens",
        "from webhook.tokens import *",
        "import webhook.tokens.adapters.asgi",
    ],
)
def test_the_library_imports_no_client_and_nothing_that_takes_long(code: str) -> None:
    assert modules_after(code) & (CLIENTS | COSTLY) == set()


def test_what_verifies_is_imported_when_it_is_used() -> None:
    assert "webhook.tokens.reviewer" not in modules_after("import webhook.tokens")
    assert "webhook.tokens.reviewer" in modules_after("from webhook.tokens import verify")


def test_every_name_of_the_library_is_there() -> None:
    for name in tokens.__all__:
        assert getattr(tokens, name) is not None
    assert list(tokens.__all__) == sorted(tokens.__all__)
    with pytest.raises(AttributeError, match="'webhook.tokens' has no attribute 'verfy'"):
        _ = tokens.verfy  # type: ignore[attr-defined]


def test_the_library_is_imported_in_a_moment(tmp_path: Path) -> None:
    """Of CPU, beside msgspec in the same minute: what else the machine does slows both. With
    bytecode, as an installed package has it and a fresh clone has not.
    """
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    clock = "time.process_time()"
    best = {"msgspec": math.inf, "webhook.tokens": math.inf}
    for name in [*best] * ATTEMPTS:
        code = f"import time; start = {clock}; import {name}; print({clock} - start)"
        best[name] = min(best[name], float(python(code, environ)))
    msgspec, library = best.values()
    print(f"import webhook.tokens: {library * 1000:.0f} ms, msgspec {msgspec * 1000:.0f} ms")
    assert library < TIMES_MSGSPEC * msgspec


def test_every_adapter_of_a_client_is_here() -> None:
    folder = ROOT / "webhook" / "tokens" / "adapters"
    found = {path.stem for path in folder.glob("*_auth.py")}
    found |= {path.stem for path in folder.glob("*_client.py")}
    assert found == set(ADAPTERS)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_imports_its_own_client_only(adapter: str) -> None:
    client, _ = ADAPTERS[adapter]
    found = modules_after(f"import webhook.tokens.adapters.{adapter}") & CLIENTS
    assert {client} <= found <= {client} | THEIRS.get(client, set())


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_missing_package_says_how_to_install_it(adapter: str) -> None:
    client, install = ADAPTERS[adapter]
    text = python(
        f"""
import sys
sys.modules[{client!r}] = None
try:
    import webhook.tokens.adapters.{adapter}
except ImportError as problem:
    print(problem)
"""
    )
    assert client in text
    assert f"pip install '{install}'" in text
