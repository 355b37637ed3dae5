"""One token for all processes of a user: when it is used, renewed and refused, and how many
requests that takes.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clocks import Clock
from tests.support.issuer import Issuer
from webhook.errors import Unauthenticated
from webhook.tokens.errors import Deleted, NoToken
from webhook.tokens.kubectl.create import NewToken, create
from webhook.tokens.kubectl.private_folder import PrivateFolder
from webhook.tokens.kubectl.shared import SharedToken, Usable, calling_process

KEY = "shop/cart"
GONE = 'serviceaccounts "cart" not found'


class Shared:
    """A shared token of shop/cart, of an issuer whose clock a test moves."""

    def __init__(self, issuer: Issuer, path: Path, clock: Clock) -> None:
        self.issuer = issuer
        self.path = path
        self.clock = clock
        self.reports: list[str] = []
        self.server = issuer.api()

    def get(self, caller: str = "", key: str = KEY) -> Usable:
        """As a process of its own would."""
        new = NewToken(namespace="shop", account="cart", seconds=1000)
        with PrivateFolder(self.path, "tokens") as folder:
            return SharedToken(
                folder,
                key,
                lambda: create(self.server, new).issued,
                caller=caller,
                report=self.reports.append,
                clock=self.clock,
            ).get()

    @property
    def file(self) -> Path:
        (path,) = (self.path / "tokens").glob("*.json")
        return path

    @property
    def requests(self) -> int:
        return len(self.issuer.requests)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    clock = Clock()
    with Issuer(clock) as issuer:
        yield Shared(issuer, tmp_path, clock)


def test_it_is_requested_once_and_renewed_after_four_fifths_of_its_life(shared: Shared) -> None:
    first = shared.get()
    assert 790 - 1 <= first.until - shared.clock.now <= 800
    shared.clock.now = first.until - 1
    assert shared.get() == first
    assert shared.requests == 1
    shared.clock.now = first.until
    second = shared.get()
    assert second.token != first.token
    assert second.until > first.until
    assert shared.requests == 2
    assert shared.reports == []


def test_a_clock_that_was_set_back_or_far_ahead_means_a_new_token(shared: Shared) -> None:
    shared.get()
    for move in (-5000, 100_000):
        before = shared.requests
        shared.clock.now += move
        shared.get()
        assert shared.requests == before + 1


def test_tokens_for_other_things_are_others(shared: Shared) -> None:
    assert shared.get().token != shared.get(key="shop/basket").token
    assert shared.requests == 2


def test_many_at_once_make_one_request(shared: Shared) -> None:
    shared.issuer.lag = 0.3
    tokens: list[str] = []
    threads = [
        threading.Thread(target=lambda: tokens.append(shared.get().token)) for _ in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(tokens), len(set(tokens)), shared.requests) == (30, 1, 1)


def test_those_who_waited_hear_of_the_failure_and_ask_no_more(shared: Shared) -> None:
    shared.clock.now = 1_800_000_000.0
    shared.issuer.lag = 0.5
    shared.issuer.script.extend([403] * 30)
    messages: list[str] = []

    def ask() -> None:
        try:
            shared.get()
        except NoToken as problem:
            messages.append(str(problem))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert messages == ["failed to create token: refused with 403"] * 10
    assert shared.requests == 1
    shared.clock.now += 1  # who comes later tries again
    with pytest.raises(NoToken):
        shared.get()
    assert shared.requests == 2
    shared.issuer.script.clear()
    shared.clock.now += 1
    shared.get()
    assert shared.requests == 3


def test_the_old_token_is_used_on_while_renewing_fails_and_is_not_tried_each_time(
    shared: Shared,
) -> None:
    first = shared.get()
    shared.clock.now = first.until + 1
    shared.issuer.script.extend([500] * 5)
    second = shared.get()
    assert second.token == first.token
    assert second.until == shared.clock.now + 60
    assert shared.reports == ["failed to create token: refused with 500; the old token is used on"]
    assert shared.get() == second
    assert shared.requests == 2
    shared.clock.now = second.until
    assert shared.get().token == first.token
    assert shared.requests == 3
    shared.clock.now = first.until + 300  # expired
    with pytest.raises(NoToken, match="refused with 500"):
        shared.get()


def test_near_its_end_the_old_token_is_for_no_longer_than_its_life(shared: Shared) -> None:
    first = shared.get()
    until = shared.clock.now + 1000 - 10  # a request takes its time, and clocks differ
    shared.clock.now = until - 5
    shared.issuer.script.extend([500, 500])
    assert shared.get() == (first.token, until)
    shared.clock.now = until
    with pytest.raises(NoToken):
        shared.get()


def test_an_answer_that_came_too_late_is_no_token(shared: Shared) -> None:
    def late(body: dict[str, Any]) -> Any:
        answer = shared.issuer.issue("/api/v1/namespaces/shop/serviceaccounts/cart/token", body)
        shared.clock.now += 995
        return answer

    shared.issuer.script.append(late)
    with pytest.raises(NoToken, match="expired meanwhile"):
        shared.get()


def locked_by_another(shared: Shared) -> Any:
    (path,) = (shared.path / "tokens").glob("*.lock")
    return PrivateFolder(shared.path, "tokens").locked(path.name, 0)


def test_while_another_process_renews_it_nobody_waits_who_has_a_valid_one(shared: Shared) -> None:
    first = shared.get()
    shared.clock.now = first.until
    started = time.monotonic()
    with locked_by_another(shared):
        assert shared.get().token == first.token
    assert time.monotonic() - started < 20
    assert shared.requests == 1
    assert shared.get().token != first.token


def test_who_has_none_waits_for_another_process_and_not_for_ever(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.tokens.kubectl.shared.LOCK_SECONDS", 0.3)
    monkeypatch.setattr("webhook.tokens.kubectl.private_folder.NOTICE_SECONDS", 0.1)
    shared.get("100 1")
    with locked_by_another(shared):
        with pytest.raises(NoToken, match="another process has been asking") as refused:
            shared.get("100 1")  # it was refused with the token that there is
        assert str(shared.path / "tokens") in str(refused.value)
        shared.file.unlink()
        with pytest.raises(NoToken, match="another process has been asking"):
            shared.get()
    assert shared.requests == 1
    told = "another process is asking for the same token; waiting for it"
    assert shared.reports == [told, told]


def test_a_deleted_account_ends_the_old_token_too(shared: Shared) -> None:
    first = shared.get()
    shared.clock.now = first.until
    shared.issuer.script.append(lambda _: shared.issuer.refuse(404, GONE, "serviceaccounts"))
    with pytest.raises(Deleted, match="not found"):
        shared.get()
    assert list((shared.path / "tokens").glob("*.json")) == []


def test_who_asks_again_for_a_token_that_is_good_was_refused_with_it(shared: Shared) -> None:
    first = shared.get("100 1")
    assert shared.get("200 1") == first
    assert shared.requests == 1
    second = shared.get("100 1")
    assert second.token != first.token
    assert shared.requests == 2
    assert shared.get("200 1").token == second.token  # was given the first only
    assert shared.requests == 2


def test_a_server_that_refuses_every_token_costs_a_request_in_ten_seconds(shared: Shared) -> None:
    shared.get("100 1")
    for _ in range(20):
        shared.get("100 1")
    assert shared.requests == 2
    shared.clock.now += 10
    shared.get("100 1")
    assert shared.requests == 3


def test_a_refused_token_of_a_deleted_account_says_so(shared: Shared) -> None:
    shared.get("100 1")
    shared.issuer.script.append(lambda _: shared.issuer.refuse(404, GONE, "serviceaccounts"))
    with pytest.raises(Deleted):
        shared.get("100 1")


def test_a_refused_token_is_kept_where_there_is_no_other(shared: Shared) -> None:
    first = shared.get("100 1")
    shared.issuer.script.append(500)
    assert shared.get("100 1").token == first.token
    assert shared.requests == 2


def test_callers_are_remembered_in_a_bounded_file_and_no_part_of_a_token_with_them(
    shared: Shared,
) -> None:
    token = shared.get("100 1").token
    (path,) = (shared.path / "tokens").glob("*.callers")
    assert path.read_text().startswith("100 1 ")
    assert not set(token.split(".")) & set(path.read_text().split())
    path.write_text("x" * 70_000)
    shared.get("100 1")
    assert path.stat().st_size < 100


def changed(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda entry: entry | fields


GARBAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda _: [],
    "another key": changed(key="shop/basket"),
    "no token": changed(token="x"),
    "a token with a newline": changed(token="a.b.c\n"),
    "a renewal after its end": changed(refresh_at=1e12),
    "times that are texts": changed(until="tomorrow"),
    "nothing": lambda _: {},
}


@pytest.mark.parametrize("spoil", GARBAGE.values(), ids=GARBAGE)
def test_a_file_that_says_something_else_is_not_used(
    shared: Shared, spoil: Callable[[dict[str, Any]], Any]
) -> None:
    first = shared.get()
    shared.file.write_text(json.dumps(spoil(json.loads(shared.file.read_text()))))
    second = shared.get()
    assert second.token != first.token
    assert shared.get() == second
    assert (shared.requests, shared.reports) == (2, [])


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 50_000, b"x" * 200_000])
def test_garbage_is_not_used(shared: Shared, content: bytes) -> None:
    first = shared.get()
    shared.file.write_bytes(content)
    assert shared.get().token != first.token


def test_a_file_that_others_could_read_is_not_used_told_and_replaced(shared: Shared) -> None:
    first = shared.get()
    shared.file.chmod(0o644)
    second = shared.get()
    assert second.token != first.token
    assert shared.reports[0] == (
        f"a cached token is not used: {shared.file}: its mode is 644, and must be 600"
    )
    shared.reports.clear()
    assert shared.get() == second
    assert shared.reports == []


def test_without_a_place_to_write_there_is_a_token_all_the_same(shared: Shared) -> None:
    shared.get()
    shared.file.unlink()
    name = next((shared.path / "tokens").glob("*.lock")).stem
    (shared.path / "tokens" / f"{name}.json").mkdir()
    assert shared.get().token
    assert shared.reports[-1].startswith(f"the token is not cached: {shared.path / 'tokens'}: ")


def test_a_lock_that_cannot_be_had_means_a_request_of_its_own(shared: Shared) -> None:
    shared.get()
    (lock,) = (shared.path / "tokens").glob("*.lock")
    lock.unlink()
    lock.mkdir()
    shared.file.unlink()
    assert shared.get().token
    assert shared.reports == [f"the token is not cached: {lock}: Is a directory"]


def test_without_a_folder_each_call_asks(shared: Shared) -> None:
    new = NewToken(namespace="shop", account="cart")
    token = SharedToken(None, KEY, lambda: create(shared.server, new).issued)
    assert token.get().token != token.get().token


def test_credentials_that_cannot_be_read_are_a_failure_like_any_other(
    shared: Shared, tmp_path: Path
) -> None:
    def fail() -> Any:
        raise Unauthenticated("no kubeconfig")

    with PrivateFolder(tmp_path, "tokens") as folder:
        token = SharedToken(folder, KEY, fail, report=shared.reports.append, clock=shared.clock)
        with pytest.raises(Unauthenticated):
            token.get()
        shared.clock.now += 1
        first = shared.get()
        shared.clock.now = first.until
        assert token.get().token == first.token
    assert shared.reports == ["no kubeconfig; the old token is used on"]


def test_files_that_nobody_has_used_for_two_days_go(shared: Shared) -> None:
    shared.get(key="another")
    shared.clock.now += 3 * 86400
    for path in (shared.path / "tokens").iterdir():
        # By the clock of the test, not that of this machine.
        os.utime(path, (shared.clock.now - 3 * 86400,) * 2)
    shared.get()
    assert len(list((shared.path / "tokens").glob("*.json"))) == 1
    assert len(list((shared.path / "tokens").glob("*.lock"))) == 1


def test_a_calling_process_is_told_with_its_start() -> None:
    number, start = calling_process().split()
    assert int(number) > 0
    assert int(start) > 0
    assert calling_process() == f"{number} {start}"
