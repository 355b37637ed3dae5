"""`boundtoken token jwks` on the real API server: what it publishes, who may read it, and whether
the files that are written verify its tokens.
"""

import contextlib
import json
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.controlplane.cluster import ISSUER, ControlPlane
from tests.support.builders import Json
from tests.support.processes import boundtoken
from tests.support.threads import served
from tests.support.waiting import wait_for
from webhook.tokens import claims_of

VAULT = "https://vault.example.com"


def jwks(
    plane: ControlPlane, *arguments: str, user: str = "admin"
) -> subprocess.CompletedProcess[str]:
    return boundtoken("token", "jwks", *arguments, kubeconfig=plane.kubeconfig(user))


def found(plane: ControlPlane) -> Json:
    return dict(json.loads(jwks(plane, "-o", "json").stdout))


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[str]:
    """A static web site; gives its URL."""
    handler = partial(_Files, directory=str(folder))
    with served(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


def test_issuer_and_keys_are_those_of_the_api_server(plane: ControlPlane) -> None:
    result = jwks(plane)
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    (key,) = json.loads(plane.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    assert lines[0] == ["issuer", ISSUER]
    assert lines[3][:5] == ["key", key["kid"], "RSA", "2048", "RS256"]
    assert "is no public address: outside services need one" in result.stderr


def test_what_anonymous_users_lack_is_told_with_the_command_that_gives_it(
    plane: ControlPlane,
) -> None:
    before = found(plane)
    assert before["anonymous"] == {"discovery": False, "jwks": False}
    (note,) = [note for note in before["notes"] if "anonymous" in note]
    command = shlex.split(note[note.index("kubectl create ") :])
    plane.kubectl(*command[1:])
    try:
        wait_for(lambda: found(plane)["anonymous"] == {"discovery": True, "jwks": True})
        assert "anonymous" not in " ".join(found(plane)["notes"])
    finally:
        plane.kubectl("delete", "clusterrolebinding", "public-service-account-issuer")


def test_who_may_not_read_them_is_told_what_is_needed(plane: ControlPlane) -> None:
    """The discovery role is bound to service accounts only."""
    result = jwks(plane, user="editor")
    assert (result.returncode, result.stdout) == (3, "")
    assert "needs the ClusterRole system:service-account-issuer-discovery" in result.stderr


def test_the_api_server_itself_is_a_public_issuer_only_for_anonymous_users(
    plane: ControlPlane,
) -> None:
    result = jwks(plane, "--check", plane.url, "--ca-file", str(plane.ca_file), "-o", "json")
    assert result.returncode == 1
    kinds = [one["kind"] for one in json.loads(result.stdout)["differences"]]
    assert kinds == ["issuer", "unreachable"]
    untrusted = jwks(plane, "--check", plane.url)
    assert untrusted.returncode == 3
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted.stderr


def test_the_files_verify_tokens_as_a_cloud_does(plane: ControlPlane, tmp_path: Path) -> None:
    plane.kubectl("create", "serviceaccount", "jwks", "-n", "default")
    token = plane.kubectl("create", "token", "jwks", "--audience", VAULT).strip()
    result = jwks(plane, "--out", str(tmp_path / "public"))
    assert result.returncode == 0
    with bucket(tmp_path / "public") as url:
        # A cloud finds the files by the issuer's name, which this machine cannot have.
        discovery = json.loads((tmp_path / "public/.well-known/openid-configuration").read_text())
        assert discovery["issuer"] == claims_of(token).issuer == ISSUER
        assert discovery["jwks_uri"].startswith(f"{ISSUER}/")
        keys = jwt.PyJWKClient(url + discovery["jwks_uri"].removeprefix(ISSUER))
        key = keys.get_signing_key_from_jwt(token)
        decoded = jwt.decode(token, key, ["RS256"], audience=VAULT, issuer=discovery["issuer"])
        assert decoded["sub"] == "system:serviceaccount:default:jwks"
        compared = jwks(plane, "--check", url)
        assert compared.returncode == 3, "the keys are to be found at the issuer's name"
        assert compared.stderr.startswith(f"boundtoken: {ISSUER}/openid/v1/jwks: ")
    plane.kubectl("delete", "serviceaccount", "jwks", "-n", "default")


def test_a_bucket_is_compared_key_by_key(plane: ControlPlane, tmp_path: Path) -> None:
    """With a document that says where the bucket really is."""
    jwks(plane, "--out", str(tmp_path))
    document, keys = tmp_path / ".well-known/openid-configuration", tmp_path / "openid/v1/jwks"
    with bucket(tmp_path) as url:
        discovery = json.loads(document.read_text()) | {"jwks_uri": f"{url}/openid/v1/jwks"}
        document.write_text(json.dumps(discovery))

        def kinds() -> list[str]:
            result = jwks(plane, "--check", url, "-o", "json")
            assert result.returncode == 1
            return [one["kind"] for one in json.loads(result.stdout)["differences"]]

        assert kinds() == ["issuer"]
        content = json.loads(keys.read_text())
        keys.write_text(json.dumps({"keys": [content["keys"][0] | {"kid": "old"}]}))
        assert kinds() == ["issuer", "key-missing", "key-extra"]
        keys.unlink()
        assert kinds() == ["issuer", "unreachable"]


@pytest.mark.parametrize("flags", [[], ["-o", "json"]])
def test_nothing_is_asked_for_but_the_documents(plane: ControlPlane, flags: list[str]) -> None:
    before = plane.audit_log.read_text().count("\n")
    jwks(plane, *flags)
    lines = plane.audit_log.read_text().splitlines()[before:]
    ours = [json.loads(line) for line in lines if '"boundtoken-tokens/' in line]
    requests = {(event["requestURI"], event["user"]["username"]) for event in ours}
    paths = ("/.well-known/openid-configuration", "/openid/v1/jwks")
    assert requests == {(path, user) for path in paths for user in ("admin", "system:anonymous")}
