"""What `boundtoken check` prints, and the flags that it refuses."""

import asyncio
import contextlib
import io
import json
import shlex
import socket
import time
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import msgspec
import pytest

from tests.checks.installations import an_installation
from tests.support.builders import Json
from tests.support.checking import Checked, run_check
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.played import playing
from webhook.checks.facts import Probe
from webhook.checks.model import NOT_INSTALLED, Finding, Result, Status, Unseen
from webhook.checks.objects import Annotated
from webhook.cli.check import output, probes
from webhook.cli.check.reading import MAX_SECRETS, METADATA_ONLY
from webhook.cli.cluster.reader import Reader
from webhook.cluster.client import ApiClient
from webhook.core import names
from webhook.core.policy import ClusterPolicy

GOOD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
EVIL = "a\x1b[31m\x07 & <b> \u202e \x00 eyJhbGciOiJub25lIn0.e30.abc " + "long " * 60


def a_result(status: Status, text: str = "why", *commands: str) -> Result:
    finding = Finding(status, text, commands)
    return Result(f"id-{status}", "Group", "it works", "Do something.", finding)


def test_the_list_has_a_line_for_what_holds_and_the_cure_for_what_does_not() -> None:
    results = [a_result("passed", "2 of 2"), a_result("failed", "broken", "kubectl apply -k m")]
    with contextlib.redirect_stdout(io.StringIO()):  # it has no encoding
        lines = list(output.lines(results, with_commands=True))
    assert lines == [
        "Group",
        "-----",
        "+ it works: 2 of 2",
        "x it works",
        "    broken",
        "    Do something.",
        "    kubectl apply -k m",
        "    see boundtoken help checks id-failed",
        "",
        "2 checks: 1 passed, 1 failed",
    ]
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
        lines = list(output.lines(results, with_commands=False))
    assert f"{output.MARKS['failed']} it works" in lines
    assert "    kubectl apply -k m" not in lines


def test_where_nothing_is_installed_only_that_is_listed() -> None:
    absent = a_result("unknown", NOT_INSTALLED)
    results = [a_result("passed"), a_result("failed", "there is none"), absent, absent]
    lines = list(output.lines(results, with_commands=False))
    assert [line for line in lines if line.startswith("?")] == []
    assert lines[-3:] == [
        "not run: 2 checks of what is installed",
        "",
        "4 checks: 1 passed, 1 failed, 2 not found out",
    ]


def test_what_was_cut_is_told_in_ascii_where_nothing_else_can_be_written() -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        lines = list(output.lines([a_result("warning", "x" * 76 + "…")], with_commands=False))
    assert [line.strip() for line in lines[3:5]] == ["x" * 76, "..."]
    assert max(map(len, lines)) <= 80


def test_what_could_not_be_found_out_has_no_cure() -> None:
    lines = list(output.lines([a_result("unknown", "needs get on x")], with_commands=False))
    assert lines[2:5] == [
        "? it works",
        "    needs get on x",
        "    see boundtoken help checks id-unknown",
    ]


@pytest.mark.parametrize("status", ["passed", "warning", "failed", "unknown"])
def test_no_text_of_an_object_reaches_a_terminal_as_it_is(status: Status) -> None:
    lines = list(output.lines([a_result(status, EVIL, f"kubectl {EVIL}")], with_commands=True))
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    assert "eyJ" not in "".join(lines)


def test_a_long_command_goes_on_after_a_backslash() -> None:
    command = "kubectl create rolebinding " + "name " * 20
    lines = list(output.lines([a_result("failed", "x", command)], with_commands=True))
    shown = [line for line in lines if line.endswith("\\") or "name" in line]
    joined = " ".join(line.strip().removesuffix(" \\") for line in shown)
    assert joined == command.strip()
    assert all(line.endswith("\\") for line in shown[:-1])


def test_a_word_of_a_command_is_never_broken() -> None:
    patch = f"'{json.dumps([{'op': 'add', 'path': '/' + 'x' * 90}])}'"
    command = f"kubectl patch thing/boundtoken --type=json -p {patch} && echo done"
    lines = list(output.lines([a_result("failed", "x", command)], with_commands=True))
    at = next(number for number, line in enumerate(lines) if "kubectl" in line)
    assert lines[at:-3] == [
        "    kubectl patch thing/boundtoken --type=json -p \\",
        f"      {patch} \\",
        "      && echo done",
    ]
    shown = "\n".join(lines[at:-3]).replace("\\\n", "")  # as a shell reads it
    assert shlex.split(shown) == shlex.split(command)


def test_the_json_has_every_part_and_no_token() -> None:
    report = json.loads(output.document([a_result("failed", EVIL, "do it"), a_result("passed")]))
    assert (report["status"], report["counts"]["failed"]) == ("failed", 1)
    first = report["checks"][0]
    assert set(first) == {"id", "group", "sentence", "status", "text", "cure", "commands", "see"}
    assert (first["see"], first["commands"]) == ("docs/checks.md#id-failed", ["do it"])
    assert "eyJ" not in first["text"]


def test_junit_has_failures_errors_and_warnings_apart() -> None:
    results = [a_result(status, EVIL) for status in output.MARKS]
    root = ET.fromstring(output.junit(results))
    assert root.attrib == {"tests": "4", "failures": "1", "errors": "1"}
    kinds = [[child.tag for child in case] for case in root.iter("testcase")]
    assert kinds == [[], ["system-out"], ["failure"], ["error"]]
    assert "eyJ" not in output.junit(results)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["deployment/web"], "must be workload TYPE/NAME, or nothing"),
        (["workload"], "must be workload TYPE/NAME, or nothing"),
        (["workload", "a/b", "--pre"], "--pre is for the installation"),
        (["--can", "get/pods"], "--can is for workload TYPE/NAME"),
        (["-n", "shop"], "the namespace of boundtoken is --webhook-namespace"),
        (["--wait", "soon"], '--wait="soon": must be seconds'),
        (["--pre", "--request-token"], "--request-token does not go with --pre"),
        (["--dry-run-namespace", "a/b"], "must be the name of a namespace"),
        (["--dry-run-namespace", "a", "--no-dry-run"], "exclude each other"),
        (["--webhook-namespace", "A"], "--webhook-namespace='A'"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(words: list[str], message: str) -> None:
    code, out, err = run_check(*words)
    assert (code, out) == (2, "")
    assert message in err


def a_namespace(name: str, **metadata: str) -> Annotated:
    annotations = {names.INJECT: "enabled"}
    document = {"metadata": {"name": name, "annotations": annotations, **metadata}}
    return msgspec.convert(document, Annotated)


def test_a_pod_is_tried_where_nothing_keeps_it_out_and_default_comes_last() -> None:
    ending = a_namespace("a", deletionTimestamp="2026-01-01T00:00:00Z")
    many = tuple(a_namespace(f"n{number}") for number in range(9))
    seen = an_installation(namespaces=(ending, a_namespace("kube-system"), *many))
    assert probes.namespaces_for(seen) == ("n0", "n1", "n2", "n3", "default")
    seen.cluster = ClusterPolicy(excluded=names.NEVER_TOUCHED | {"default"})
    seen.own = "n0"
    assert probes.namespaces_for(seen) == ("n1", "n2", "n3", "n4")
    seen.namespaces = (a_namespace("default"),)
    assert probes.namespaces_for(seen) == ()


def test_where_every_namespace_is_excluded_the_flag_is_named() -> None:
    async def found() -> Any:
        reader = Reader(cast("ApiClient", None))
        return await probes.first_pod(reader, an_installation(), ())

    assert asyncio.run(found()) == Unseen(
        "every namespace that could be tried is excluded; "
        "name another namespace with --dry-run-namespace"
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (("-replace", "injected"), "injected"),
        (("-replace", "-differs"), "-differs"),
        (("refused", "-replace", "-other"), "-replace"),
        (("refused", "-refused"), "refused"),
    ],
)
def test_a_namespace_without_tokens_is_no_answer_while_another_can_be_tried(
    monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...], expected: str
) -> None:
    async def pod(_: Reader, __: Any, name: str) -> Probe:
        differences = ("it has no token",) if name == "-differs" else ()
        problem = "exceeded quota" if "refused" in name else ""
        return Probe(name, problem, "", name == "injected", differences)

    monkeypatch.setattr(probes, "pod", pod)
    first = probes.first_pod(Reader(cast("ApiClient", None)), an_installation(), found)
    assert cast("Probe", asyncio.run(first)).namespace == expected


def test_the_configuration_is_that_of_the_config_map_that_is_mounted(tmp_path: Path) -> None:
    base = "/namespaces/boundtoken-system"
    config_maps = [
        {"metadata": {"name": name}, "data": {"config.yaml": text}}
        for name, text in (("aaa-old", "bad"), ("mine", GOOD))
    ]
    volumes = [{"name": "config", "configMap": {"name": "mine"}}]
    deployment: Json = {"spec": {"template": {"spec": {"volumes": volumes}}}}
    with playing() as played:
        played.objects = {
            "/version": {"gitVersion": "v1.33.1"},
            f"/api/v1{base}/configmaps": config_maps,
            f"/apis/apps/v1{base}/deployments/boundtoken": deployment,
        }
        flags = ("--no-dry-run", "--kubeconfig", str(a_kubeconfig(tmp_path / "k", played.server)))
        assert Checked(*flags).text("configuration") == "configmap/mine"
        volumes[0]["configMap"] = {"name": "gone"}
        assert "there is no ConfigMap" in Checked(*flags).text("configuration")
        volumes.clear()
        assert Checked(*flags).text("configuration").startswith("configmap/aaa-old: ")


def test_of_a_secret_that_is_mounted_nothing_is_read_but_whether_it_is_there(
    tmp_path: Path,
) -> None:
    base = "namespaces/boundtoken-system"
    volumes = [{"name": name, "secret": {"secretName": name}} for name in ("tls", "x")]
    deployment: Json = {"spec": {"template": {"spec": {"volumes": volumes}}}}
    path = f"/api/v1/{base}/secrets/tls"
    with playing() as played:
        played.objects = {
            "/version": {"gitVersion": "v1.33.1"},
            f"/apis/apps/v1/{base}/deployments/boundtoken": deployment,
            path: {"metadata": {"name": "tls"}},
        }
        flags = ("--no-dry-run", "--kubeconfig", str(a_kubeconfig(tmp_path / "k", played.server)))
        missing = Checked(*flags).text("mounted-secrets")
        assert played.accepted[path] == METADATA_ONLY
        volumes.pop()
        assert Checked(*flags).status("mounted-secrets") == "passed"
        played.objects[path] = 403
        forbidden = Checked(*flags)
        volumes.extend({"name": f"n{n}", "secret": {"secretName": f"n{n}"}} for n in range(30))
        played.queries.clear()
        Checked(*flags)
    assert missing == "secret/x is not in namespace boundtoken-system"
    assert forbidden.status("mounted-secrets") == "unknown"
    needed = "needs get on secrets/tls in boundtoken-system"
    assert forbidden.text("mounted-secrets") == needed
    read = [target for target, _ in played.queries if "/secrets/" in target]
    assert len(read) == MAX_SECRETS


def test_where_nothing_is_installed_no_pod_is_tried(tmp_path: Path) -> None:
    empty: list[Json] = []
    registration = "/apis/admissionregistration.k8s.io/v1"
    with playing() as played:
        played.objects = {
            "/version": {"gitVersion": "v1.33.1"},
            f"{registration}/mutatingwebhookconfigurations": empty,
            f"{registration}/validatingwebhookconfigurations": empty,
            "/api/v1/namespaces/boundtoken-system/configmaps": empty,
        }
        found = Checked("--kubeconfig", str(a_kubeconfig(tmp_path / "k", played.server)))
    assert set(found.of("failed")) == {"deployment"}
    assert "boundtoken is not installed: no Deployment" in found.text("deployment")
    assert found.text("dry-run-pod") == found.text("namespace-annotations") == NOT_INSTALLED
    assert (found.of("warning"), found.code) == ({}, 1)


@pytest.mark.parametrize("words", [(), ("workload", "deployment/web")])
def test_an_api_server_that_never_answers_is_waited_for_no_longer_than_is_said(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        code, *_ = run_check(
            *words, "--wait", "2", "--kubeconfig", str(a_kubeconfig(tmp_path / "k", server))
        )
        took = time.monotonic() - start
    assert (code, took < 30) == (3 if words else 1, True)
