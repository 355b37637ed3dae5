"""Versions that go together, and those that do not."""

import pytest

from tests.controlplane import build
from tests.support.paths import ROOT
from webhook.terminal import skew
from webhook.terminal.skew import UNKNOWN, Replica


def replicas(*versions: str) -> list[Replica]:
    return [Replica(f"r{number}", version, "image") for number, version in enumerate(versions)]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("boundtoken:0.1.0", "0.1.0"),
        ("registry.example.com:5000/a/boundtoken:v0.2.0-rc.1", "0.2.0-rc.1"),
        ("boundtoken:0.1.0@sha256:0d1e", "0.1.0"),
        ("registry.example.com:5000/boundtoken", ""),
        ("boundtoken@sha256:0d1e", ""),
        ("boundtoken:latest", ""),
        ("boundtoken:1", ""),
        ("", ""),
    ],
)
def test_the_version_of_an_image_is_its_tag_where_that_is_one(image: str, version: str) -> None:
    assert skew.of_image(image) == version


@pytest.mark.parametrize(
    ("client", "running", "word"),
    [
        ("0.1.0", "0.2.0", "older"),
        ("0.10.0", "0.9.0", "newer"),
        ("0.1.1", "0.1.0", "newer"),
        ("0.1.0-rc.1", "0.1.0", "older"),
        ("0.1.0", "0.1.0-rc.1", "newer"),
    ],
)
def test_another_version_in_the_cluster_is_told(client: str, running: str, word: str) -> None:
    (warning,) = skew.warnings(client, replicas(running, running), "v1.37.2")
    assert warning.startswith(
        f"this program ({client}) is {word} than boundtoken in the cluster ({running}): "
    )


def test_nothing_is_told_of_what_goes_together_or_is_not_known() -> None:
    assert skew.warnings("0.1.0", replicas("0.1.0", UNKNOWN), "v1.30.0-gke.1") == []
    assert skew.warnings("0.1.0", [], "") == []
    assert skew.warnings("0.1.0", [], "main") == []


def test_replicas_of_several_versions_are_told() -> None:
    found = skew.warnings("0.2.0", replicas("0.2.0", "0.1.0"), "")
    assert found[1:] == [
        'the replicas run several versions: "0.1.0", "0.2.0"; is an upgrade under way?'
    ]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("v1.29.9", "the API server (v1.29.9) is older than 1.30, which boundtoken needs"),
        ("v1.38.0", "the API server (v1.38.0) is newer than 1.37, the newest that was tested"),
        ("v2.0.0", "the API server (v2.0.0) is newer than 1.37, the newest that was tested"),
    ],
)
def test_an_api_server_outside_of_the_supported_versions_is_told(
    version: str, message: str
) -> None:
    assert skew.warnings("0.1.0", [], version) == [message]


def test_what_a_cluster_gives_is_shown_with_escapes() -> None:
    (warning,) = skew.warnings("0.1.0", replicas("0.0.1+\x1b[31m"), "")
    assert "\x1b" not in warning


def test_the_supported_versions_are_those_of_the_readme_and_the_tests() -> None:
    oldest, newest = (
        f"{major}.{minor}" for major, minor in (skew.OLDEST_KUBERNETES, skew.NEWEST_KUBERNETES)
    )
    assert f"Kubernetes {oldest} or newer." in (ROOT / "README.md").read_text()
    assert build.version().startswith(f"v{newest}.")


@pytest.mark.parametrize(
    ("client", "age"), [("0.1.0-rc.10", "newer"), ("0.1.0-rc.8", "older"), ("0.1.0", "newer")]
)
def test_parts_of_a_pre_release_are_numbers(client: str, age: str) -> None:
    (found,) = skew.warnings(client, [Replica("p", "0.1.0-rc.9", "image")], "")
    assert f"({client}) is {age} than" in found


def test_what_follows_a_plus_orders_nothing() -> None:
    assert skew.warnings("0.1.0", [Replica("p", "0.1.0+b", "metrics")], "") == []
