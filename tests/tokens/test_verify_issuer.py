"""Keys from the https URL of an issuer: whom it believes, where it goes, and what it takes."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.clocks import Clock
from tests.support.issuer import Key
from tests.support.processes import free_port
from tests.support.reviewing import Site, signed
from webhook.tokens import InvalidToken, JwksVerifier, NotVerified
from webhook.tokens.issuer import DISCOVERY_PATH, WebIssuer
from webhook.tokens.server import MAX_ANSWER_BYTES, Refusal

KEY = Key("one")
KEYS = json.dumps({"keys": [KEY.public()]}).encode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, {"/keys": KEYS}) as site:
        site.pages[DISCOVERY_PATH] = document(site)
        yield site


def document(site: Site, **changed: Any) -> bytes:
    return json.dumps({"issuer": site.url, "jwks_uri": f"{site.url}/keys", **changed}).encode()


def a_token(issuer: str, **changed: Any) -> str:
    now = int(time.time())
    claims = {
        "aud": ["vault"],
        "exp": now + 600,
        "iat": now,
        "iss": issuer,
        "jti": "an-id",
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "cart", "uid": "a"},
        },
        "sub": "system:serviceaccount:shop:cart",
    }
    return signed(KEY, {**claims, **changed})


def problem(site: Site, issuer: str = "") -> str:
    """Why the keys cannot be had."""
    issuer = issuer or site.url
    verifier = JwksVerifier(issuer, ca_file=site.ca_file)
    with pytest.raises(NotVerified) as failed:
        verifier.verify(a_token(issuer), audience="vault")
    assert str(failed.value).startswith(f"keys of {issuer}: ")
    return str(failed.value).removeprefix(f"keys of {issuer}: ")


def test_it_goes_to_the_issuer_without_credentials(site: Site) -> None:
    verifier = JwksVerifier(site.url, ca_file=str(site.ca_file))
    assert str(verifier.verify(a_token(site.url), audience="vault")) == "shop/cart"
    verifier.verify(a_token(site.url), audience="vault")
    assert site.seen == [(DISCOVERY_PATH, None), ("/keys", None)]


def test_it_takes_keys_of_their_own_content_type(site: Site) -> None:
    """The API server answers 406 to who accepts application/json only."""
    accepted = []

    def keys(request: BaseHTTPRequestHandler) -> None:
        accepted.append(request.headers["Accept"])
        request.send_response(200)
        request.send_header("Content-Type", "application/jwk-set+json")
        request.send_header("Content-Length", str(len(KEYS)))
        request.end_headers()
        request.wfile.write(KEYS)

    site.pages["/keys"] = keys
    verifier = JwksVerifier(site.url, ca_file=site.ca_file)
    assert verifier.verify(a_token(site.url), audience="vault")
    assert "*/*" in accepted[0]


@pytest.mark.parametrize("path", ["/id/EXAMPLE", "/id/EXAMPLE/"])
def test_an_issuer_may_have_a_path(site: Site, path: str) -> None:
    issuer = site.url + path
    site.pages["/id/EXAMPLE" + DISCOVERY_PATH] = document(site, issuer=issuer)
    verifier = JwksVerifier(issuer, ca_file=site.ca_file)
    assert verifier.verify(a_token(issuer), audience="vault")
    with pytest.raises(InvalidToken, match="wrong-issuer"):
        verifier.verify(a_token(site.url), audience="vault")


def test_a_token_of_another_issuer_is_refused_without_a_call(site: Site) -> None:
    verifier = JwksVerifier(site.url, ca_file=site.ca_file)
    for issuer in ("https://other.example", site.url + "/", ""):
        with pytest.raises(InvalidToken, match="wrong-issuer"):
            verifier.verify(a_token(issuer), audience="vault")
    assert site.seen == []


def test_a_discovery_document_of_another_issuer_is_not_believed(site: Site) -> None:
    site.pages[DISCOVERY_PATH] = document(site, issuer="https://evil.example")
    text = problem(site)
    assert text == "its discovery document is of another issuer, 'https://evil.example'"
    assert site.seen == [(DISCOVERY_PATH, None)]


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost/keys",
        "file:///etc/passwd",
        "ftp://x/y",
        "/keys",
        "//localhost/keys",
        "https://",
        "https:///keys",
        "https://user:secret@localhost/keys",
        "https://localhost:port/keys",
        "https://localhost:99999/keys",
        "https://local host/keys",
        "https://localhost/keys\r\nX:y",
        "https://localhost/ke\nys",
        "https://localhost/\x7f",
        "https://localhost/" + "x" * 3000,
        "",
    ],
)
def test_keys_come_over_https_only(site: Site, uri: str) -> None:
    site.pages[DISCOVERY_PATH] = document(site, jwks_uri=uri)
    assert problem(site) == "its jwks_uri must be an https URL"
    assert len(site.seen) == 1


def test_keys_may_be_at_another_host_with_a_certificate(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    with Site(folder, {"/keys?version=2": KEYS}) as keys:
        site.pages[DISCOVERY_PATH] = document(site, jwks_uri=f"{keys.url}/keys?version=2")
        assert "certificate verify failed" in problem(site)
        both = folder / "both.crt"
        both.write_bytes(site.ca_file.read_bytes() + keys.ca_file.read_bytes())
        verifier = JwksVerifier(site.url, ca_file=both)
        assert verifier.verify(a_token(site.url), audience="vault")
        assert keys.seen == [("/keys?version=2", None)]


def test_a_certificate_of_a_stranger_is_not_believed(site: Site) -> None:
    verifier = JwksVerifier(site.url)
    with pytest.raises(NotVerified, match="certificate verify failed"):
        verifier.verify(a_token(site.url), audience="vault")


def test_a_certificate_is_for_its_name(site: Site) -> None:
    issuer = site.url.replace("localhost", "127.0.0.1")
    assert "certificate verify failed" in problem(site, issuer)


@pytest.mark.parametrize(("text", "message"), [(None, "No such file"), ("no PEM", "certificate")])
def test_a_ca_file_that_cannot_be_used_is_named(
    site: Site, tmp_path: Path, text: str | None, message: str
) -> None:
    file = tmp_path / "other.crt"
    if text is not None:
        file.write_text(text)
    verifier = JwksVerifier(site.url, ca_file=file)
    with pytest.raises(NotVerified, match=f"{file}: .*{message}"):
        verifier.verify(a_token(site.url), audience="vault")


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(site: Site, code: int) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Location", f"{site.url}/elsewhere")
        request.send_header("Content-Length", "0")
        request.end_headers()

    site.pages["/elsewhere"] = document(site)
    site.pages[DISCOVERY_PATH] = redirect
    assert problem(site).startswith(f"{code}: ")
    assert site.seen == [(DISCOVERY_PATH, None)]


def endless(request: BaseHTTPRequestHandler) -> None:
    """100 MB, without saying how much it is."""
    request.send_response(200)
    request.end_headers()
    for _ in range(1600):
        request.wfile.write(b"x" * (64 << 10))


def huge(request: BaseHTTPRequestHandler) -> None:
    """100 MB, and it says so."""
    request.send_response(200)
    request.send_header("Content-Length", str(100 << 20))
    request.end_headers()
    for _ in range(1600):
        request.wfile.write(b"x" * (64 << 10))


@pytest.mark.parametrize("page", [endless, huge])
@pytest.mark.parametrize("path", [DISCOVERY_PATH, "/keys"])
def test_an_answer_of_a_hundred_megabytes_is_not_read(site: Site, page: Any, path: str) -> None:
    site.pages[path] = page
    start = time.monotonic()
    assert problem(site).endswith(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    assert time.monotonic() - start < 10


def headers_without_end(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    for number in range(10_000):
        request.send_header(f"X-{number}", "x" * 1000)
    request.end_headers()


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00" * 100_000)


def cut_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"{")


GARBAGE: dict[str, Any] = {
    "no JSON": b"<html>",
    "nothing": b"",
    "deeply nested": b"[" * 500_000,
    "no UTF-8": b'{"issuer":"\xff\xfe"}',
    "headers without end": headers_without_end,
    "no HTTP": no_http,
    "cut off": cut_off,
}


@pytest.mark.parametrize("path", [DISCOVERY_PATH, "/keys"])
@pytest.mark.parametrize("page", GARBAGE.values(), ids=GARBAGE)
def test_garbage_verifies_nothing_and_ends_nothing(site: Site, page: Any, path: str) -> None:
    site.pages[path] = page
    assert problem(site)


def test_a_slow_issuer_costs_its_timeout(site: Site) -> None:
    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(30)

    site.pages[DISCOVERY_PATH] = slow
    start = time.monotonic()
    with pytest.raises(Refusal, match="timed out"):
        WebIssuer(site.url, site.ca_file, timeout=0.3).fetch()
    assert time.monotonic() - start < 10


def test_an_issuer_that_sends_a_byte_now_and_then_is_given_up(site: Site) -> None:
    def dripping(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(1000):
            request.wfile.write(b" ")
            time.sleep(0.05)

    site.pages[DISCOVERY_PATH] = dripping
    start = time.monotonic()
    with pytest.raises(Refusal, match="timed out"):
        WebIssuer(site.url, site.ca_file, timeout=0.4).fetch()
    assert time.monotonic() - start < 10


def test_a_port_that_never_answers_costs_its_timeout(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(Refusal, match="timed out"):
            WebIssuer(url, timeout=0.3).fetch()
        assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example",
        "https://issuer.example?x=1",
        "https://issuer.example?",
        "https://issuer.example#x",
        "https://issuer.example#",
        "https://me:secret@issuer.example",
        "https://",
        "issuer.example",
        "https://issuer.example:x",
        "https://issuer .example",
        "https://iss\u00fcer.example",
        "https://issuer.example/" + "x" * 3000,
        "",
        None,
        7,
    ],
)
def test_an_issuer_is_an_https_url(url: Any) -> None:
    with pytest.raises(ValueError, match="issuer: .* must be an https URL without a query"):
        JwksVerifier(url)


def test_nobody_there_is_said_so(site: Site) -> None:
    assert "refused" in problem(site, f"https://127.0.0.1:{free_port()}")


def test_keys_are_renewed_over_the_same_way(site: Site) -> None:
    clock = Clock(time.time())
    before = threading.active_count()
    verifier = JwksVerifier(site.url, ca_file=site.ca_file, clock=clock)
    verifier.verify(a_token(site.url), audience="vault")
    new = Key("new")
    site.pages["/keys"] = json.dumps({"keys": [new.public()]}).encode()
    claims = jwt.decode(a_token(site.url), options={"verify_signature": False})
    clock.now += 10
    assert verifier.verify(signed(new, claims), audience="vault")
    assert len(site.seen) == 4
    assert threading.active_count() < before + 10
