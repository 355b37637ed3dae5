"""Which tokens a pod has of Secrets with legacy tokens: the key counts, and where it is."""

from typing import Any

import pytest

from tests.scanning.objects import a_space, living, scanned
from tests.support.builders import Json, a_container, a_pod
from webhook.scanning.report import Mount, Report

CA = {"key": "ca.crt", "path": "ca.crt"}
TOKEN = {"key": "token", "path": "deep/api"}


def of_volume(volume: Json, mounts: tuple[Json, ...] = ({},), **spec: Any) -> Report:
    container = a_container("app")
    container["volumeMounts"] = [{"name": "old", "mountPath": "/old", **one} for one in mounts]
    pod = a_pod(container, volumes=[{"name": "old", **volume}], **spec)
    return scanned(living(pod), secrets=("old",))


def projected(*items: Json) -> Json:
    return {"projected": {"sources": [{"secret": {"name": "old", "items": list(items)}}]}}


def secret(*items: Json) -> Json:
    return {"secret": {"secretName": "old", "items": list(items)}}


def found(report: Report) -> list[tuple[str, tuple[Mount, ...]]]:
    return [(one.file, one.mounts) for one in report.tokens if one.source == "legacy-secret"]


@pytest.mark.parametrize("volume", [secret(CA), projected(CA)])
def test_who_mounts_another_key_has_no_token_and_is_told_to_need_the_secret(volume: Json) -> None:
    report = of_volume(volume)
    assert report.tokens == ()
    assert [one.mounted_by for one in report.secrets] == [("pod/web",)]
    # The rules refuse the pod all the same: what is to be enforced does not suit it.
    assert report.namespaces[0].level == "none"
    (finding,) = (one for one in report.findings if one.code == "legacy")
    assert finding.fix == ""


@pytest.mark.parametrize("volume", [secret(CA, TOKEN), projected(CA, TOKEN)])
def test_a_token_is_the_file_that_its_key_is_written_to(volume: Json) -> None:
    assert found(of_volume(volume)) == [("deep/api", (Mount("app", "/old", False),))]


@pytest.mark.parametrize(
    ("part", "is_there"),
    [
        ({"subPath": "ca.crt"}, False),
        ({"subPath": "deep/api"}, True),
        ({"subPath": "./deep/"}, True),
        ({"subPath": "de"}, False),
        ({"subPathExpr": "$(WHICH)"}, True),
        ({"subPathExpr": "ca.crt"}, False),
    ],
)
def test_a_part_of_the_volume_has_the_token_or_has_it_not(part: Json, is_there: bool) -> None:
    report = of_volume(secret(CA, TOKEN), (part,))
    expected = [("deep/api", (Mount("app", "/old", False, True),))] if is_there else []
    assert found(report) == expected
    assert report.secrets[0].mounted_by == ("pod/web",)


def test_of_several_mounts_those_with_the_token_are_told() -> None:
    mounts = ({"subPath": "ca.crt"}, {"mountPath": "/t", "readOnly": True})
    assert found(of_volume(secret(), mounts)) == [("token", (Mount("app", "/t"),))]
    assert found(of_volume(secret(), ())) == [("token", ())]  # it is on the node


def test_a_key_that_is_written_twice_is_two_tokens() -> None:
    again = {"key": "token", "path": "again"}
    assert [file for file, _ in found(of_volume(secret(TOKEN, again)))] == ["deep/api", "again"]


def in_environment(**container: Any) -> Report:
    return scanned(living(a_pod({**a_container("app"), **container})), secrets=("old",))


def variable(key: str) -> Json:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": "old", "key": key}}}


@pytest.mark.parametrize(
    ("container", "count"),
    [
        ({"env": [variable("ca.crt")]}, 0),
        ({"env": [variable("ca.crt"), variable("token"), variable("token")]}, 1),
        ({"envFrom": [{"secretRef": {"name": "old"}}]}, 1),
        ({"envFrom": [{"secretRef": {"name": "old"}}], "env": [variable("token")]}, 1),
    ],
)
def test_in_an_environment_it_is_the_key_of_the_token_or_all_keys(
    container: Json, count: int
) -> None:
    report = in_environment(**container)
    assert found(report) == [("", (Mount("app", "env"),))] * count
    assert report.secrets[0].mounted_by == ("pod/web",)


def test_what_the_driver_of_a_volume_gets_is_mounted_nowhere() -> None:
    volume = {"csi": {"driver": "x", "nodePublishSecretRef": {"name": "old"}}}
    assert found(of_volume(volume)) == [("", ())]


def test_pods_that_differ_by_the_key_alone_are_not_alike() -> None:
    pods = []
    for name, item in (("a", CA), ("b", TOKEN)):
        container = a_container("app", ("old", "/old"))
        pod = a_pod(container, volumes=[{"name": "old", **secret(item)}])
        pods.append(living(pod, name))
    report = scanned(*pods, secrets=("old",), space=a_space())
    assert [one.object for one in report.tokens] == ["pod/b"]
