"""TokenFile: what client-go does with a projected token, and what a program sees when it fails."""

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.controlplane.volumes import show
from tests.support.claims import a_token
from tests.support.clocks import Clock
from webhook.core.claims import MAX_TOKEN_BYTES
from webhook.tokens import Expired, ObjectReference, TokenFile, Unreadable


def of(clock: Clock, seconds: float = 3600, **claims: Any) -> str:
    return a_token({"iat": clock.now, "exp": clock.now + seconds, "jti": str(clock.now), **claims})


def swap(folder: Path, token: str) -> None:
    show(folder, {"token": token.encode(), "ca.crt": b"PEM", "namespace": b"shop"})


def test_a_swapped_file_is_seen_at_once(tmp_path: Path, clock: Clock) -> None:
    swap(tmp_path, first := of(clock, jti="1"))
    file = TokenFile(tmp_path / "token", clock=clock)
    assert file.get() == first
    swap(tmp_path, second := of(clock, jti="2"))
    assert file.get() == second


def test_a_file_that_looks_unchanged_is_read_again_after_a_minute(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "token"
    path.write_text(first := of(clock, jti="1"))
    file = TokenFile(path, clock=clock)
    assert file.get() == first
    rewrite(path, second := of(clock, jti="2"))
    clock.now += 59
    assert file.get() == first
    clock.now += 1
    assert file.get() == second


def rewrite(path: Path, text: str) -> None:
    """As a file system without fine times would show it: nothing but the content differs."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_from_ten_seconds_before_the_expiry_it_is_read_each_time(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "token"
    path.write_text(of(clock, 40, jti="1"))
    file = TokenFile(path, clock=clock)
    file.get()
    rewrite(path, second := of(clock, 40, jti="2"))
    clock.now += 29
    assert file.get() != second
    clock.now += 1
    assert file.get() == second


def test_a_token_that_has_expired_is_never_returned(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "token").write_text(of(clock, 600))
    file = TokenFile(tmp_path / "token", clock=clock)
    clock.now += 599
    file.get()
    clock.now += 1
    with pytest.raises(Expired, match="its token expired at 2027-01-15T08:10:00Z, and nobody"):
        file.get()


def test_the_last_good_one_is_used_while_the_file_is_bad_and_it_is_valid(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text(good := of(clock, 600))
    file = TokenFile(path, clock=clock)
    assert file.get() == good
    with caplog.at_level(logging.WARNING, "boundtoken.tokens"):
        for broken in (b"", b"two words", "ü".encode(), b"\xff", None):
            path.write_bytes(broken) if broken is not None else path.unlink()
            assert file.get() == good
            clock.now += 61
    assert len(caplog.records) == 1  # of many failures in a row
    assert good not in caplog.text
    clock.now += 600
    with pytest.raises(Unreadable, match="No such file or directory; the pod needs"):
        file.get()
    path.write_text(again := of(clock))
    assert file.get() == again


def test_an_older_token_in_the_file_does_not_replace_a_valid_one(
    tmp_path: Path, clock: Clock
) -> None:
    path = tmp_path / "token"
    path.write_text(good := of(clock, 600, jti="1"))
    file = TokenFile(path, clock=clock)
    file.get()
    path.write_text(of(clock, -5, jti="expired"))
    assert file.get() == good


def test_a_clock_that_was_set_back_means_read_again(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "token"
    path.write_text(of(clock, jti="1"))
    file = TokenFile(path, clock=clock)
    file.get()
    rewrite(path, second := of(clock, jti="2"))
    clock.now -= 3000
    assert file.get() == second


def test_it_says_what_it_is_and_what_stands_beside_it(tmp_path: Path, clock: Clock) -> None:
    private: Any = {"kubernetes.io": {"namespace": "shop", "pod": {"name": "cart-0", "uid": "u"}}}
    swap(tmp_path, of(clock, aud=["vault"], **private))
    file = TokenFile(str(tmp_path / "token"), clock=clock)
    assert file.expires_at == datetime.fromtimestamp(clock.now + 3600, UTC)
    assert file.audiences == ("vault",)
    assert file.bound_to == ObjectReference("Pod", "cart-0", "u")
    assert file.claims.namespace == file.namespace == "shop"
    assert (file.ca, file.ca_file) == ("PEM", tmp_path / "ca.crt")


def test_a_text_that_is_no_jwt_is_used_and_has_no_claims(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("opaque\n")
    file = TokenFile(tmp_path / "token")
    assert (file.get(), file.expires_at) == ("opaque", None)
    with pytest.raises(Unreadable, match="is no JWT"):
        assert file.claims
    with pytest.raises(Unreadable, match="namespace: No such file"):
        assert file.namespace


async def test_in_a_coroutine_and_after_a_401(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "token"
    path.write_text(first := of(clock, jti="1"))
    file = TokenFile(path, clock=clock)
    assert await file.aget() == file.renew(first) == first
    rewrite(path, second := of(clock, jti="2"))
    assert await file.aget() == first
    assert await file.arenew(first) == second == await file.aget()


@pytest.mark.parametrize("claims", [{"exp": 1, "aud": None}, {"exp": "1"}, {"exp": -1e12}, b"{"])
def test_a_jwt_that_cannot_be_read_is_none(tmp_path: Path, claims: Any) -> None:
    (tmp_path / "token").write_text(a_token(claims))
    with pytest.raises(Unreadable):
        TokenFile(tmp_path / "token").get()


def test_half_a_token_replaces_no_valid_one(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "token"
    path.write_text(good := of(clock))
    file = TokenFile(path, clock=clock)
    assert file.get() == good
    path.write_text("half")
    assert file.get() == good
    clock.now += 3600
    assert file.get() == "half"  # which may be a token of another kind


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "token")
    for path in (tmp_path / "token", tmp_path, "a\0b", "\ud800"):
        with pytest.raises(Unreadable, match="the pod needs a projected volume there"):
            TokenFile(path).get()


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * MAX_TOKEN_BYTES)
    assert len(TokenFile(path).get()) == MAX_TOKEN_BYTES
    path.write_text("x" * MAX_TOKEN_BYTES + "x")
    with pytest.raises(Unreadable, match="must hold a token, which is at most 65536 bytes"):
        TokenFile(path).get()
    with path.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(Unreadable, match="must hold a token"):
        TokenFile(path).get()
