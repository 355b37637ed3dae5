"""A folder whose token is kept fresh."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.issuer import Issuer
from tests.support.waiting import wait_for
from webhook.errors import Unauthenticated
from webhook.tokens import RequestRefused, TokenRequest, TokenRequestSource, claims_of
from webhook.tokens.errors import FolderGone
from webhook.tokens.folder import upkeep
from webhook.tokens.folder.upkeep import Change, Upkeep
from webhook.tokens.folder.volume import TokenFolder


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(upkeep, "READING_SECONDS", 0.1)


class Running:
    """An upkeep, and what was told of it."""

    def __init__(self, issuer: Issuer, folder: TokenFolder) -> None:
        self.ca = b"one"
        self.no_ca = ""
        self.changes: list[Change] = []
        self.failures: list[str] = []
        self.stop = threading.Event()
        source = TokenRequestSource(issuer.api(), TokenRequest("shop", "cart", ("vault",)))
        self.upkeep = Upkeep(
            folder,
            source,
            self.beside,
            self.stop,
            changed=self.changes.append,
            failed=self.failures.append,
        )
        self.problem: list[BaseException] = []
        self.thread = threading.Thread(target=self._run)

    def beside(self) -> dict[str, bytes]:
        if self.no_ca:
            raise Unauthenticated(self.no_ca)
        return {"namespace": b"shop", "ca.crt": self.ca}

    def _run(self) -> None:
        try:
            self.upkeep.run()
        except FolderGone as problem:
            self.problem.append(problem)


@pytest.fixture
def running(issuer: Issuer, tmp_path: Path) -> Iterator[Running]:
    with TokenFolder(tmp_path / "tokens") as folder:
        made = Running(issuer, folder)
        yield made
        made.stop.set()
        if made.thread.ident is not None:
            made.thread.join(60)
            assert not made.thread.is_alive()


def shown(tmp_path: Path, name: str = "token") -> str:
    return (tmp_path / "tokens" / name).read_text()


def versions(tmp_path: Path) -> int:
    return len(list((tmp_path / "tokens").glob("..2*")))


def test_the_first_round_writes_everything_and_tells_it(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    running.upkeep.update()
    claims = claims_of(shown(tmp_path))
    (change,) = running.changes
    assert (change.token_of, change.audiences) == ("shop/cart", ("vault",))
    assert change.folder == str(tmp_path / "tokens")
    assert abs(change.expires_at.timestamp() - (claims.expires_at or 0)) < 3
    assert (shown(tmp_path, "namespace"), shown(tmp_path, "ca.crt")) == ("shop", "one")
    running.upkeep.update()
    assert len(running.changes) == len(issuer.requests) == 1


def test_a_token_is_renewed_in_time_and_the_one_before_removed(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.lifetime = 2
    running.upkeep.update()
    first = shown(tmp_path)
    running.thread.start()
    wait_for(lambda: len(running.changes) >= 3)
    assert shown(tmp_path) != first
    wait_for(lambda: versions(tmp_path) == 1, every=0.005)
    assert running.failures == []


def test_another_ca_is_shown_without_a_new_token(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    running.upkeep.update()
    running.thread.start()
    running.ca = b"two"
    wait_for(lambda: shown(tmp_path, "ca.crt") == "two")
    assert len(issuer.requests) == 1


def test_a_failure_is_told_once_and_the_old_token_stays(running: Running, tmp_path: Path) -> None:
    running.upkeep.update()
    first = shown(tmp_path)
    running.no_ca = "ca.crt: Permission denied"
    running.thread.start()
    wait_for(lambda: running.failures)
    running.stop.wait(0.2)
    assert running.failures == ["ca.crt: Permission denied"]
    assert shown(tmp_path) == first
    running.no_ca, running.ca = "", b"two"
    wait_for(lambda: shown(tmp_path, "ca.crt") == "two")
    running.no_ca = "ca.crt: Permission denied"
    wait_for(lambda: len(running.failures) == 2)


def test_a_full_disk_is_told_and_tried_again(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.upkeep.update()
    running.ca = b"two"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        running.thread.start()
        wait_for(lambda: running.failures)
        assert "No space left on device; its files stay as they are" in running.failures[0]
        assert shown(tmp_path, "ca.crt") == "one"
    wait_for(lambda: shown(tmp_path, "ca.crt") == "two")


def test_a_folder_that_is_gone_ends_it(running: Running, tmp_path: Path) -> None:
    running.upkeep.update()
    (tmp_path / "tokens").rename(tmp_path / "away")
    running.thread.start()
    running.thread.join(60)
    (problem,) = running.problem
    assert str(problem).startswith(f"{tmp_path}/tokens: the folder is gone")


def test_a_refusal_of_the_first_token_is_raised_and_nothing_is_written(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.script.append(403)
    with pytest.raises(RequestRefused):
        running.upkeep.update()
    assert not (tmp_path / "tokens/token").exists()


def test_a_token_that_was_refused_later_stays_and_is_told(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.lifetime = 2
    running.upkeep.update()
    first = shown(tmp_path)
    issuer.script.extend([403] * 50)
    running.thread.start()
    wait_for(lambda: running.failures)
    assert "token of shop/cart: 403" in running.failures[0]
    assert shown(tmp_path) == first


def test_after_a_stop_an_answer_is_not_written(
    running: Running, issuer: Issuer, tmp_path: Path
) -> None:
    issuer.lag = 0.3
    thread = threading.Thread(target=running.upkeep.update)
    thread.start()
    wait_for(lambda: running.upkeep.is_asking)
    running.stop.set()
    thread.join()
    assert not running.upkeep.is_asking
    assert not (tmp_path / "tokens/token").exists()


@pytest.mark.parametrize(
    ("seconds", "year"), [(0, 1970), (None, 1970), (1e18, 9999), (-1e300, 9999)]
)
def test_any_expiry_is_a_time(seconds: float | None, year: int) -> None:
    assert upkeep._time(seconds).year == year
