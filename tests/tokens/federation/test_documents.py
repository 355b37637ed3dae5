"""What outside services see of an issuer, and how a public one differs."""

import contextlib
import json
import os
import ssl
import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.folders import entries
from tests.support.issuer import Credentials, Issuer, Key
from tests.support.threads import Served
from webhook.tokens import ApiServer, NotVerified
from webhook.tokens.errors import FolderError
from webhook.tokens.federation import documents
from webhook.tokens.federation.documents import DISCOVERY_PATH, JWKS_PATH, Published
from webhook.tokens.federation.upload import write_documents

Json = dict[str, Any]
KEY, OTHER = Key("one"), Key("two")
CONTEXT = ssl.create_default_context()


class Site(Served):
    """A web site: what it answers for each path, as a status and a body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.authorizations: list[str | None] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.authorizations.append(self.headers.get("Authorization"))
                status, body = site.answers.get(self.path, (404, b"{}"))
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, keys: list[Json], path: str = "", **discovery: Any) -> None:
        document = {
            "issuer": f"{self.url}{path}",
            "jwks_uri": f"{self.url}{path}{JWKS_PATH}",
            "id_token_signing_alg_values_supported": ["RS256"],
            **discovery,
        }
        self.answers[path + DISCOVERY_PATH] = (200, json.dumps(document).encode())
        self.answers[path + JWKS_PATH] = (200, json.dumps({"keys": keys}).encode())

    def api(self) -> ApiServer:
        return ApiServer(Credentials(self.url))


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


def cluster(site: Site, *keys: Key, issuer: str = "") -> Published:
    """What the API server publishes, whose issuer is the site."""
    document = {"issuer": issuer or site.url, "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"}
    jwks = {"keys": [key.public() for key in keys or (KEY,)]}
    return documents._published(json.dumps(document).encode(), json.dumps(jwks).encode())


def found(published: Published, issuer: str) -> list[str]:
    return [one.kind for one in documents.differences(published, issuer, CONTEXT)]


def test_the_documents_of_an_api_server_are_read_with_its_credentials() -> None:
    with Issuer() as issuer:
        published = documents.published(issuer.api())
        assert published.issuer == issuer.url
        assert published.jwks_uri == issuer.url + JWKS_PATH
        (key,) = published.keys
        assert (key.kid, key.kind, key.algorithm) == ("one", "RSA 2048", "RS256")
        assert not key.is_private


def test_the_thumbprint_is_that_of_the_standard() -> None:
    """The example of RFC 7638, section 3.1."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
        "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOp"
        "bISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = documents._key({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert key.material == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_same_issuer_and_keys_are_no_difference_and_no_credentials_are_sent(
    site: Site,
) -> None:
    site.publish([KEY.public(), OTHER.public()])
    assert found(cluster(site, KEY, OTHER), site.url) == []
    assert found(cluster(site, OTHER, KEY), f"{site.url}/") == []
    assert set(site.authorizations) == {None}


def test_an_issuer_with_a_path_is_found_below_it(site: Site) -> None:
    site.publish([KEY.public()], path="/shop")
    assert found(cluster(site, issuer=f"{site.url}/shop"), f"{site.url}/shop") == []


@pytest.mark.parametrize(
    ("keys", "kinds"),
    [
        pytest.param([], ["key-missing"], id="none"),
        pytest.param([OTHER.public()], ["key-missing", "key-extra"], id="another"),
        pytest.param([KEY.public(), OTHER.public()], ["key-extra"], id="one more"),
        pytest.param([{**OTHER.public(), "kid": "one"}], ["key-differs"], id="of the same name"),
        pytest.param([{**KEY.public(), "d": "AA"}], ["private-key"], id="private"),
        pytest.param([{**KEY.public(), "kid": "x"}], ["key-missing", "key-extra"], id="renamed"),
    ],
)
def test_keys_that_differ_are_told(site: Site, keys: list[Json], kinds: list[str]) -> None:
    site.publish(keys)
    assert found(cluster(site), site.url) == kinds


def test_another_issuer_is_told(site: Site) -> None:
    site.publish([KEY.public()], issuer="https://other.example.com")
    assert found(cluster(site), site.url) == ["issuer"]
    site.publish([KEY.public()])
    assert found(cluster(site, issuer="https://x.example"), site.url) == ["issuer", "issuer"]


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404])
@pytest.mark.parametrize("path", [DISCOVERY_PATH, JWKS_PATH])
def test_documents_that_are_not_public_are_told(site: Site, status: int, path: str) -> None:
    site.publish([KEY.public()])
    site.answers[path] = (status, b"")
    (difference,) = documents.differences(cluster(site), site.url, CONTEXT)
    assert difference.kind == "unreachable"
    assert difference.text.startswith(f"{site.url}{path}: {status}")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_site_that_is_broken_is_no_answer(site: Site, status: int) -> None:
    site.answers[DISCOVERY_PATH] = (status, b"")
    with pytest.raises(NotVerified, match=str(status)):
        documents.differences(cluster(site), site.url, CONTEXT)


def test_a_site_that_is_away_is_no_answer(site: Site) -> None:
    with pytest.raises(NotVerified, match="Connection refused"):
        documents.differences(cluster(site), "http://127.0.0.1:1", CONTEXT)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b"\xff", b'{"issuer": 1, "jwks_uri": 2}', b"[" * 100_000],
)
@pytest.mark.parametrize("path", [DISCOVERY_PATH, JWKS_PATH])
def test_what_is_no_document_is_told(site: Site, body: bytes, path: str) -> None:
    site.publish([KEY.public()])
    site.answers[path] = (200, body)
    assert found(cluster(site), site.url) == ["not-a-document"]


@pytest.mark.parametrize(
    "key",
    [
        1,
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "RSA", "n": "\u00e4", "e": "AQAB"},
        {"kty": "RSA", "e": "AQAB"},
        {"kty": ["RSA"]},
    ],
)
def test_what_is_no_key_is_told(site: Site, key: Any) -> None:
    site.publish([key])
    assert found(cluster(site), site.url) == ["not-a-document"]


def test_a_key_set_has_a_bound(site: Site) -> None:
    site.publish([KEY.public()] * (documents.MAX_KEYS + 1))
    assert found(cluster(site), site.url) == ["not-a-document"]
    site.answers[JWKS_PATH] = (200, b" " * (2 << 20))
    with pytest.raises(NotVerified, match="more than 1048576 bytes"):
        documents.differences(cluster(site), site.url, CONTEXT)


@pytest.mark.parametrize(
    "jwks_uri", ["file:///etc/passwd", "http://192.0.2.1/keys", "x", "https://u:p@h/", 1, None]
)
def test_keys_are_fetched_from_nowhere_less_safe(site: Site, jwks_uri: Any) -> None:
    site.publish([KEY.public()], jwks_uri=jwks_uri)
    assert found(cluster(site), site.url) == ["not-a-document"]
    with pytest.raises(documents._Malformed, match="is no https URL"):
        documents._jwks_uri(json.dumps({"jwks_uri": site.url}).encode(), "https://x.example")


@pytest.mark.parametrize(
    "url",
    [
        "https://oidc.example.com",
        "https://x/a/b",
        "https://[::1]:8443",
        "http://127.0.0.1:1",
        "http://localhost",
    ],
)
def test_urls_of_issuers(url: str) -> None:
    documents.check_issuer(url)


@pytest.mark.parametrize(
    "url",
    ["", "x", "http://example.com", "https://", "https://a?b", "https://a#b", "https://u:p@a", "https://a:x", "https://[", "ftp://a", "https://\xe4", "https://a b", "https://a\n"],
)  # fmt: skip
def test_what_is_no_url_of_an_issuer(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        documents.check_issuer(url)


def test_what_anonymous_users_get_is_found_out(site: Site) -> None:
    site.publish([KEY.public()])
    assert documents.anonymous_statuses(site.api()) == {DISCOVERY_PATH: 200, JWKS_PATH: 200}
    site.answers = {DISCOVERY_PATH: (401, b""), JWKS_PATH: (403, b"")}
    assert documents.anonymous_statuses(site.api()) == {DISCOVERY_PATH: 401, JWKS_PATH: 403}


@pytest.mark.parametrize(
    ("issuer", "statuses", "expected"),
    [
        ("https://oidc.example.com", (200, 200), ["jwks_uri"]),
        ("https://kubernetes.default.svc", (200, 200), ["issuer", "jwks_uri"]),
        ("https://kubernetes", (200, 200), ["issuer", "jwks_uri"]),
        ("https://8.8.8.8", (403, 403), ["jwks_uri", "anonymous users may not"]),
        ("https://8.8.8.8", (401, 401), ["jwks_uri", "the API server takes no anonymous"]),
        ("https://[", (0, 0), ["issuer", "jwks_uri"]),
    ],
)
def test_notes_say_what_outside_services_lack(
    site: Site, issuer: str, statuses: tuple[int, int], expected: list[str]
) -> None:
    given = dict(zip((DISCOVERY_PATH, JWKS_PATH), statuses, strict=True))
    notes = documents.notes(cluster(site, issuer=issuer), given)
    assert len(notes) == len(expected)
    for note, start in zip(notes, expected, strict=True):
        assert note.startswith(start)


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "needs the ClusterRole system:service-account"), (404, "must|unless"), (500, "500")],
)
def test_a_refusal_of_the_api_server_says_what_to_do(site: Site, status: int, message: str) -> None:
    site.answers[DISCOVERY_PATH] = (status, b"")
    with pytest.raises(NotVerified, match=message):
        documents.published(site.api())


def test_a_document_of_an_api_server_that_cannot_be_read_is_told(site: Site) -> None:
    site.publish([])
    site.answers[JWKS_PATH] = (200, b"nonsense")
    with pytest.raises(NotVerified, match="the API server's issuer: its key set must be"):
        documents.published(site.api())


def served(folder: Path, base: str) -> Callable[[str], bytes]:
    """A static bucket at the URL `base`."""
    return lambda url: (folder / url.removeprefix(base).strip("/")).read_bytes()


@pytest.mark.parametrize(
    ("issuer", "jwks_uri", "path"),
    [
        ("https://b.example", "https://10.0.0.1:6443/openid/v1/jwks", "openid/v1/jwks"),
        ("https://b.example/", "https://b.example/keys.json", "keys.json"),
        ("https://b.example/shop", "https://b.example/shop/a/keys.json", "a/keys.json"),
        ("https://b.example", "https://b.example.evil/keys.json", "openid/v1/jwks"),
        ("https://b.example", "https://b.example/../../etc/passwd", "openid/v1/jwks"),
        ("https://b.example", "https://b.example/a//b", "openid/v1/jwks"),
        ("https://b.example", "https://b.example/keys?x=1", "openid/v1/jwks"),
        ("https://b.example", "https://b.example" + "/a" * 20, "openid/v1/jwks"),
        ("https://b.example", f"https://b.example{DISCOVERY_PATH}", "openid/v1/jwks"),
    ],
)
def test_a_bucket_that_serves_the_files_is_the_issuer(
    site: Site, tmp_path: Path, issuer: str, jwks_uri: str, path: str
) -> None:
    published = cluster(site, issuer=issuer)._replace(jwks_uri=jwks_uri)
    discovery, jwks = write_documents(tmp_path / "out", published)
    base = issuer.rstrip("/")
    assert discovery == (tmp_path / "out" / DISCOVERY_PATH[1:], base + DISCOVERY_PATH)
    assert jwks == (tmp_path / "out" / path, f"{base}/{path}")
    bucket = served(tmp_path / "out", base)
    there = documents._published(
        bucket(base + DISCOVERY_PATH), bucket(json.loads(bucket(base + DISCOVERY_PATH))["jwks_uri"])
    )
    assert (there.issuer, there.keys) == (published.issuer, published.keys)
    assert stat.S_IMODE(jwks.file.stat().st_mode) & 0o444 == 0o444


def test_files_are_replaced_and_others_stay(site: Site, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    write_documents(tmp_path, cluster(site, KEY))
    files = write_documents(tmp_path, cluster(site, KEY, OTHER))
    assert len(json.loads(files[1].file.read_text())["keys"]) == 2
    assert entries(tmp_path) == [".well-known", "index.html", "openid"]
    assert entries(files[1].file.parent) == ["jwks"]


def test_a_private_key_is_never_written(site: Site, tmp_path: Path) -> None:
    published = cluster(site)
    leaking = published._replace(keys=(published.keys[0]._replace(is_private=True),))
    with pytest.raises(FolderError, match="private key"):
        write_documents(tmp_path / "out", leaking)
    assert not (tmp_path / "out").exists()


def test_no_symlink_in_the_folder_is_followed(site: Site, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/openid").symlink_to(victim)
    with pytest.raises(FolderError, match="Not a directory|Too many levels"):
        write_documents(tmp_path / "out", cluster(site))
    assert entries(victim) == []
    (tmp_path / "out/openid").unlink()
    (tmp_path / "out/openid/v1").mkdir(parents=True)
    (victim / "keys").write_text("precious")
    (tmp_path / "out/openid/v1/jwks").symlink_to(victim / "keys")
    write_documents(tmp_path / "out", cluster(site))
    assert (victim / "keys").read_text() == "precious"


def test_a_disk_that_is_full_leaves_the_old_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_documents(tmp_path, cluster(site, KEY))
    before = files[1].file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FolderError, match="No space left on device"):
        write_documents(tmp_path, cluster(site, KEY, OTHER))
    assert files[1].file.read_bytes() == before
    assert entries(files[1].file.parent) == ["jwks"]
