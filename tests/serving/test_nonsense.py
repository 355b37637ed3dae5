"""No file and no answer ends a process: what is bad is refused and told, and what was good goes on
serving.
"""

import asyncio
import os
import resource
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.support.api import api_server
from tests.support.certificates import a_leaf, an_authority, write_pair
from tests.support.service import NAMESPACE, REVIEW, files_flags, injects, running, served
from tests.support.waiting import eventually
from webhook.errors import BadInput
from webhook.pki import authority
from webhook.pki.pem import CLOCK_SKEW, KeyPair
from webhook.serving import files, standalone
from webhook.serving.tls import MAX_CHAIN, refused_by_callers

CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
HOSTS = ["localhost", "127.0.0.1"]
HOUR = timedelta(hours=1)
REFUSED = 'boundtoken_certificate_rotations_total{kind="leaf",result="refused"}'


def serial(pair: KeyPair) -> int:
    return pair.certificate.x509_certificate.serial_number


def an_expired(root: KeyPair) -> KeyPair:
    return authority.issue(root, HOSTS, datetime.now(UTC) - HOUR, HOUR / 2)


def a_chain(root: KeyPair, length: int) -> KeyPair:
    leaf = a_leaf(root)
    return KeyPair(leaf.certificate, leaf.key, (root.certificate,) * (length - 1))


NOT_YET = CLOCK_SKEW + HOUR
UNWANTED = [
    pytest.param(an_expired, "the certificate must be valid now, and expired at ", id="expired"),
    pytest.param(
        lambda root: authority.issue(root, HOSTS, datetime.now(UTC) + NOT_YET, HOUR),
        "the certificate must be valid now, and is not before ",
        id="not yet valid",
    ),
    pytest.param(
        lambda root: root,
        "the certificate must name a host (subject alternative name), and",
        id="a CA",
    ),
    pytest.param(
        lambda root: a_chain(root, MAX_CHAIN + 1),
        f"the chain must have at most {MAX_CHAIN} certificates, and has 11",
        id="chain",
    ),
]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        *UNWANTED,
        pytest.param(
            lambda root: a_chain(root, 200),
            "certificates and keys must have at most 65536 bytes",
            id="64 KiB",
        ),
    ],
)
async def test_what_callers_would_refuse_does_not_replace_a_good_certificate(
    tmp_path: Path, make: object, problem: str
) -> None:
    root = an_authority(tmp_path)
    good = a_leaf(root)
    write_pair(tmp_path, good)
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        refused = await service.metric(REFUSED)
        write_pair(tmp_path, make(root))  # type: ignore[operator]
        await eventually(
            lambda: service.log_lines("certificate rejected, keeping the previous one")
        )
        await asyncio.sleep(2 * files.EVERY_SECONDS)
        (line,) = service.log_lines("certificate rejected")
        assert line["problem"].startswith(problem)
        assert await service.metric(REFUSED) == refused + 1
        assert await served(service) == serial(good)
        assert (await service.post(REVIEW))[0] == 200


@pytest.mark.parametrize(("make", "problem"), UNWANTED)
async def test_it_is_taken_where_nothing_better_is_in_use_and_told_loudly(
    tmp_path: Path, make: object, problem: str
) -> None:
    root = an_authority(tmp_path)
    write_pair(tmp_path, make(root))  # type: ignore[operator]
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        (line,) = service.log_lines("certificate in use")
        assert (line["event"], line["level"]) == (
            "certificate in use that callers will refuse",
            "error",
        )
        assert line["problem"].startswith(problem)
        write_pair(tmp_path, an_expired(root))
        await eventually(lambda: len(service.log_lines("certificate in use")) == 2)
        good = a_leaf(root)
        write_pair(tmp_path, good)
        await eventually(lambda: len(service.log_lines("certificate in use")) == 3)
        assert await served(service) == serial(good)


async def test_a_certificate_that_begins_later_is_taken_when_it_begins(tmp_path: Path) -> None:
    root = an_authority(tmp_path)
    write_pair(tmp_path, a_leaf(root))
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        later = authority.issue(
            root, HOSTS, datetime.now(UTC) + CLOCK_SKEW + timedelta(seconds=3), HOUR
        )
        write_pair(tmp_path, later)
        await eventually(lambda: len(service.log_lines("certificate rejected")) == 1)
        await eventually(lambda: len(service.log_lines("certificate in use")) == 2)
        assert await served(service) == serial(later)
        assert len(service.log_lines("certificate rejected")) == 1


async def test_certificates_that_are_swapped_under_load_fail_no_call(tmp_path: Path) -> None:
    root = an_authority(tmp_path)
    write_pair(tmp_path, a_leaf(root))
    async with (
        api_server() as (api, _),
        running(tmp_path, **files_flags(tmp_path, api.server)) as service,
    ):
        swaps = [a_leaf(root), an_expired(root), a_leaf(root), root, a_leaf(root)]
        done, answered = asyncio.Event(), 0

        async def call() -> None:
            nonlocal answered
            while not done.is_set():
                async with aiohttp.ClientSession() as session:  # a handshake for each pair of calls
                    for _ in range(2):
                        assert (await service.post(REVIEW, session=session))[0] == 200
                answered += 2

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(call())
            for pair in swaps:
                write_pair(tmp_path, pair)
                await asyncio.sleep(files.EVERY_SECONDS * 1.2)
            done.set()
        assert answered > 50
        assert len(service.log_lines("certificate in use")) == 4
        assert await served(service) == serial(swaps[-1])


def test_what_callers_refuse_is_a_matter_of_the_clock_that_is_given() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    root = authority.make_authority("test", now, 9 * HOUR)
    chain = authority.issue(root, HOSTS, now, HOUR).chain
    assert refused_by_callers(chain, now) == ""
    assert "expired at 2026-01-01T01:00:00+00:00" in refused_by_callers(chain, now + HOUR)
    assert "is not before 2025-12-31T23:55:00+00:00" in refused_by_callers(chain, now - HOUR)


async def test_a_watch_that_is_there_again_is_told_at_once(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        api.watches = [[503]]  # type: ignore[list-item]
        async with running(tmp_path, **files_flags(tmp_path, api.server)) as service:
            await eventually(lambda: bool(service.log_lines("namespace watch resumed")))
            assert len(service.log_lines("namespace watch interrupted")) == 1


async def test_answers_that_cannot_be_read_end_nothing(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        api.raw = [b'{"metadata": {"name": "\xff"}}', b'{"items": ' + b"[" * 100_000, b"<html>"]
        async with running(tmp_path, **files_flags(tmp_path, api.server)) as service:
            assert (await service.get("/readyz"))[0] == 200
            assert len(service.log_lines("namespace watch interrupted")) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"defaults: {inject: !!bool x}\n",
        b'"\\ud800": x\n',
        b"defaults: {expirationSeconds: 0x" + b"f" * 5000 + b"}\n",
        b"a: &a [x, x]\nb: [*a, *a]\n",
        b"namespaces: {excluded: [" + b"shop, " * 100_000 + b"]}\n",
        None,
    ],
    ids=["no bool", "half a character", "an int of 6,000 digits", "aliases", "600 KB", "a pipe"],
)
async def test_a_bad_configuration_is_refused_and_the_old_one_holds(
    tmp_path: Path, text: bytes | None
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION + "namespaces: {excluded: [shop]}\n")
    async with running(tmp_path, config=str(file)) as service:
        if text is None:
            file.unlink()
            os.mkfifo(file)
        else:
            file.write_bytes(CONFIGURATION.encode() + text)
        await eventually(
            lambda: service.log_lines("configuration rejected, keeping the previous one")
        )
        assert await service.metric("boundtoken_config_last_reload_successful") == 0
        assert not await injects(service)
        assert len(service.log_lines("configuration rejected")[0]["faults"][0]) < 500


async def test_a_pipe_for_a_configuration_is_refused_at_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(
        BadInput, match="config.yaml: must be a regular file, and is a pipe or a device"
    ):
        async with running(tmp_path, ready=False, config=str(tmp_path / "config.yaml")):
            pass


def _gone(folder: Path) -> None:
    shutil.rmtree(folder)


def _loop(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "a.yaml")


def _huge(folder: Path) -> None:
    (folder / "a.yaml").write_text("#" * (standalone.MAX_BYTES + 1))


def _aliases(folder: Path) -> None:
    (folder / "a.yaml").write_text(NAMESPACE + "spec: {a: &a [x], b: *a}\n")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_gone, "namespaces: must be a readable file: No such file or directory"),
        (_loop, "namespaces: must be a readable file: Too many levels of symbolic links"),
        (_pipe, "a.yaml: must be a regular file, and is a pipe or a device"),
        (_huge, "a.yaml: must have at most 1048576 bytes"),
        (
            _aliases,
            "a.yaml: line 7, column 11: must be YAML: anchors and aliases (& and *) are not allowed",
        ),
    ],
)
async def test_a_folder_that_cannot_be_read_is_told_and_the_old_namespaces_stay(
    tmp_path: Path, spoil: object, fault: str
) -> None:
    async with running(tmp_path) as service:
        spoil(tmp_path / "namespaces")  # type: ignore[operator]
        await eventually(
            lambda: service.log_lines("namespaces rejected, keeping the previous ones")
        )
        assert service.log_lines("namespaces rejected")[0]["faults"][0].endswith(fault)
        assert await injects(service)


async def test_without_a_free_file_descriptor_the_old_namespaces_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        async with aiohttp.ClientSession() as session:
            await service.post(REVIEW, session=session)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                await eventually(
                    lambda: service.log_lines("namespaces rejected, keeping the previous ones")
                )
                assert (await service.post(REVIEW, session=session))[0] == 200
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "Too many open files" in service.log_lines("namespaces rejected")[0]["faults"][0]
        await eventually(lambda: service.log_lines("namespaces read again"))


def test_a_folder_stands_for_itself_where_it_cannot_be_listed(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        assert standalone.yaml_files([tmp_path]) == [tmp_path]
        assert files.read([tmp_path], 1)[tmp_path] == files.Unreadable(
            "must be a readable file: Too many open files"
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
