"""No file and no answer ends a process: what is bad is refused and told, and what was good goes on serving."""

import os
import resource
import shutil
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.api import api_server
from tests.serving.service import (
    NAMESPACE,
    REVIEW,
    a_leaf,
    an_authority,
    eventually,
    files_flags,
    injects,
    running,
    write_pair,
)
from webhook.errors import BadInput
from webhook.serving import files, standalone

CONFIGURATION = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"


async def test_a_watch_that_is_there_again_is_told_at_once(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        api.watches = [[503]]  # type: ignore[list-item]
        async with running(tmp_path, **files_flags(tmp_path, api.server)) as service:
            await eventually(lambda: bool(service.said("namespaces: watch is back")))
            assert len(service.said("namespaces: watch lost")) == 1


async def test_answers_that_cannot_be_read_end_nothing(tmp_path: Path) -> None:
    async with api_server() as (api, _):
        write_pair(tmp_path, a_leaf(an_authority(tmp_path)))
        api.raw = [b'{"metadata": {"name": "\xff"}}', b'{"items": ' + b"[" * 100_000, b"<html>"]
        async with running(tmp_path, **files_flags(tmp_path, api.server)) as service:
            assert (await service.get("/readyz"))[0] == 200
            assert len(service.said("namespaces: watch lost")) == 1


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
async def test_a_bad_configuration_is_refused_and_the_old_one_holds(tmp_path: Path, text: bytes | None) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIGURATION + "namespaces: {excluded: [shop]}\n")
    async with running(tmp_path, config=str(file)) as service:
        if text is None:
            file.unlink()
            os.mkfifo(file)
        else:
            file.write_bytes(CONFIGURATION.encode() + text)
        await eventually(lambda: service.said("configuration refused, the old one stays in force"))
        assert await service.metric("boundtoken_config_last_reload_successful") == 0
        assert not await injects(service)
        assert len(service.said("configuration refused")[0]["faults"][0]) < 500


async def test_a_pipe_for_a_configuration_is_refused_at_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(BadInput, match="config.yaml: must be a regular file, and is a pipe or a device"):
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
        (_aliases, "a.yaml: line 7, column 11: must be YAML: anchors and aliases (& and *) are not read"),
    ],
)
async def test_a_folder_that_cannot_be_read_is_told_and_the_old_namespaces_stay(
    tmp_path: Path, spoil: object, fault: str
) -> None:
    async with running(tmp_path) as service:
        spoil(tmp_path / "namespaces")  # type: ignore[operator]
        await eventually(lambda: service.said("namespaces refused, the old ones stay"))
        assert service.said("namespaces refused")[0]["faults"][0].endswith(fault)
        assert await injects(service)


async def test_without_a_free_file_descriptor_the_old_namespaces_stay(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        async with aiohttp.ClientSession() as session:
            await service.post(REVIEW, session=session)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
                await eventually(lambda: service.said("namespaces refused, the old ones stay"))
                assert (await service.post(REVIEW, session=session))[0] == 200
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert "Too many open files" in service.said("namespaces refused")[0]["faults"][0]
        await eventually(lambda: service.said("namespaces read again"))


def test_a_folder_stands_for_itself_where_it_cannot_be_listed(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        assert standalone.files([tmp_path]) == [tmp_path]
        assert files.read([tmp_path], 1)[tmp_path] == files.Unreadable("must be a readable file: Too many open files")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
