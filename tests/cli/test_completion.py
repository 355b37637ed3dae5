"""Completion as shells and kubectl ask for it: answered in time, silent, and never a failure."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import Json
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.played import Played, playing
from tests.support.processes import boundtoken
from tests.support.shells import completed
from tests.support.waiting import wait_for
from webhook.cli.completion.arguments import SHELLS
from webhook.terminal.completion import MAX_CANDIDATES
from webhook.terminal.scripts import SCRIPTS

COMPLETE = BOUNDTOKEN.with_name("kubectl_complete-boundtoken")
PODS = "/api/v1/namespaces/shop/pods"


def a_table(*names: Any, more: str = "") -> Json:
    """What the API server answers who asks for a Table."""
    columns = [{"name": "Ready", "format": ""}, {"name": "Name", "format": "name"}]
    rows = [{"cells": ["1/1", name], "object": None} for name in names]
    return {"columnDefinitions": columns, "rows": rows, "metadata": {"continue": more}}


def slow(_: object) -> int:
    time.sleep(30)
    return 500


@pytest.fixture
def played() -> Iterator[Played]:
    with playing() as api:
        api.objects = {PODS: a_table("cart-0", "cart-1", "web-0")}
        yield api


PATIENT = {"BOUNDTOKEN_COMPLETION_SECONDS": "60"}
"""On a busy machine the imports alone take longer than a person waits."""


def answer(
    *words: str, kubeconfig: Path | None = None, environ: Mapping[str, str] = PATIENT
) -> list[str]:
    """The lines of an answer, which is silent."""
    result = boundtoken("__complete", *words, kubeconfig=kubeconfig, environ=environ)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_the_names_of_a_cluster_are_proposed(played: Played, tmp_path: Path) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    played.objects |= {
        "/api/v1/namespaces": a_table("shop", "shipping", "default"),
        "/api/v1/namespaces/shop/serviceaccounts": a_table("default"),
    }
    for words, expected in (
        ("explain pod/cart", ["pod/cart-0", "pod/cart-1", ":4"]),
        ("explain pods/w", ["pods/web-0", ":4"]),
        ("explain po w", ["web-0", ":4"]),
        (f"explain -n shop --kubeconfig {config} pod/w", ["pod/web-0", ":4"]),
        ("token request --for-pod w", ["web-0", ":4"]),
        ("explain -n sh", ["shop", "shipping", ":4"]),
        ("explain -nsh", ["-nshop", "-nshipping", ":4"]),
        ("check --dry-run-namespace=sh", ["shop", "shipping", ":4"]),
        ("token request -oj", ["-ojson", ":4"]),
        ("token run def", ["default", ":4"]),
    ):
        assert answer(*words.split(), kubeconfig=config) == expected, words


def test_pages_are_read_until_there_are_enough(played: Played, tmp_path: Path) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    first = a_table(*(f"a-{number}" for number in range(500)), more="x")
    played.objects[PODS] = lambda query: a_table("web-0") if "continue" in query else first
    assert answer("explain", "pod/w", kubeconfig=config) == ["pod/web-0", ":4"]
    many = [*(f"pod/a-{number}" for number in range(MAX_CANDIDATES)), ":4"]
    assert answer("explain", "pod/a", kubeconfig=config) == many
    assert [list(query) for _, query in played.queries][-1] == ["limit", "includeObject"]


@pytest.mark.parametrize(
    "names", [["$(reboot)", "a b", "-x", "..", "A", "a\n", "\x1b[2J", 1, None, "web-0"]]
)
def test_only_names_of_objects_reach_a_shell(
    played: Played, tmp_path: Path, names: list[Any]
) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    played.objects[PODS] = a_table(*names)
    assert answer("explain", "pod/", kubeconfig=config) == ["pod/web-0", ":4"]


@pytest.mark.parametrize("found", [403, 404, b"no JSON", b"[]", b'{"rows": [{"cells": []}]}', {}])
def test_what_cannot_be_read_is_no_error(played: Played, tmp_path: Path, found: Any) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    played.objects[PODS] = found
    assert answer("explain", "pod/", kubeconfig=config) == [":4"]


def is_given_up(config: Path, seconds: str) -> bool:
    """Whether an answer comes before the 30 s that something takes."""
    start = time.monotonic()
    environ = {"BOUNDTOKEN_COMPLETION_SECONDS": seconds}
    assert answer("explain", "pod/", kubeconfig=config, environ=environ) == [":4"]
    return time.monotonic() - start < 25


@pytest.mark.parametrize("seconds", ["", "2", "0", "99999", "x"])
def test_an_api_server_that_does_not_answer_is_not_waited_for(
    played: Played, tmp_path: Path, seconds: str
) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    played.objects[PODS] = slow
    assert is_given_up(config, seconds)


def with_plugin(folder: Path, script: str) -> Path:
    """A kubeconfig whose credentials come from a program of the user's."""
    config = a_kubeconfig(folder / "config", "http://127.0.0.1:1")
    content = yaml.safe_load(config.read_text())
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", script],
    }
    content["users"][0]["user"] = {"exec": {**plugin, "interactiveMode": "IfAvailable"}}
    config.write_text(yaml.safe_dump(content))
    return config


def test_a_plugin_of_a_kubeconfig_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    assert is_given_up(with_plugin(tmp_path, "sleep 30"), "2")


def is_running(number: str) -> bool:
    """Whether a process is there, and is not only waited for by nobody."""
    try:
        return Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("first", ["", "trap '' TERM; "], ids=["willing", "stubborn"])
def test_a_plugin_that_hangs_is_ended_with_all_that_it_has_started(
    tmp_path: Path, first: str
) -> None:
    script = f"{first}sleep 300 & echo $$ $! > {tmp_path / 'ids'}; wait; sleep 300"
    assert is_given_up(with_plugin(tmp_path, script), "6")
    ids = (tmp_path / "ids").read_text().split()
    assert len(ids) == 2
    wait_for(lambda: not any(map(is_running, ids)), 5)


def test_a_completion_that_is_interrupted_leaves_no_plugin_behind(tmp_path: Path) -> None:
    config = with_plugin(tmp_path, f"echo $$ > {tmp_path / 'ids'}; sleep 300; exit 1")
    environ = {**os.environ, **PATIENT, "KUBECONFIG": str(config)}
    command = [str(BOUNDTOKEN), "__complete", "explain", "pod/"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        wait_for(lambda: (tmp_path / "ids").exists() and (tmp_path / "ids").read_text() != "", 30)
        process.terminate()
        assert process.wait(60) == 0
    wait_for(lambda: not is_running((tmp_path / "ids").read_text().strip()), 5)


def test_a_plugin_of_a_kubeconfig_takes_nothing_of_what_is_typed_and_shows_nothing(
    tmp_path: Path,
) -> None:
    config = with_plugin(
        tmp_path, f"cat > {tmp_path / 'read'}; echo loud > /proc/$PPID/fd/2; exit 1"
    )
    result = boundtoken(
        "__complete", "explain", "pod/", kubeconfig=config, stdin="typed next", environ=PATIENT
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, ":4\n", "")
    assert (tmp_path / "read").read_text() == ""


def test_contexts_are_those_of_every_file(tmp_path: Path) -> None:
    files = []
    for number, names in enumerate(
        [["admin@prod", "b c"], ["arn:aws:eks:x", "a\tb", "admin@prod"]]
    ):
        file = tmp_path / f"config-{number}"
        file.write_text(yaml.safe_dump({"contexts": [{"name": name} for name in names]}))
        files.append(str(file))
    for name, text in (("empty", ""), ("broken", "a: ["), ("list", "[]")):
        (tmp_path / name).write_text(text)
    faulty = [str(tmp_path / name) for name in ("empty", "broken", "list", "missing")]
    both = Path(os.pathsep.join([*faulty, *files]))
    assert answer("explain", "--context", "", kubeconfig=both) == [
        "admin@prod",
        "arn:aws:eks:x",
        "b c",
        ":4",
    ]
    assert answer("explain", "--context=b", "--kubeconfig", files[1], "--context", "a") == [
        "admin@prod",
        "arn:aws:eks:x",
        ":4",
    ]


def test_a_context_that_begins_with_a_dash_is_proposed_behind_its_flag_only(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump({"contexts": [{"name": name} for name in ("-x", "y", "")]}))
    assert answer("explain", "--context", "", kubeconfig=config) == ["y", ":4"]
    assert answer("explain", "--context=-", kubeconfig=config) == ["-x", ":4"]
    assert answer("--whole", "explain", "--context=-", kubeconfig=config) == ["--context=-x", ":4"]


def test_a_cluster_is_read_beside_an_empty_kubeconfig(played: Played, tmp_path: Path) -> None:
    config = a_kubeconfig(tmp_path / "config", played.server, namespace="shop")
    empty = tmp_path / "empty"
    empty.touch()
    for files in ((empty, config), (config, empty)):
        both = Path(os.pathsep.join(map(str, files)))
        assert answer("explain", "pod/w", kubeconfig=both) == ["pod/web-0", ":4"]


@pytest.mark.parametrize("text", ["", "[]", "contexts: 1", "contexts: [a]", "\x00", "a: [", "x"])
def test_a_kubeconfig_of_any_shape_is_no_error(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    assert answer("explain", "--context", "", kubeconfig=config) == [":4"]
    assert answer("explain", "pod/", kubeconfig=config) == [":4"]


def test_kubectl_gets_the_same_answer_of_its_plugin() -> None:
    for words in (["expl"], ["inject", "--inject="], ["config", "check", ""]):
        result = subprocess.run([COMPLETE, *words], capture_output=True, text=True, check=True)
        assert (result.stdout.splitlines(), result.stderr) == (answer(*words), "")


@pytest.mark.parametrize(
    ("line", "replaced", "lines"),
    [
        ("boundtoken config ch", "ch", ["check", ":4"]),
        ("boundtoken 'config' 'ch", "ch", ["check", ":4"]),
        ("boundtoken token request --output=j", "j", ["json", ":4"]),
        ("boundtoken token request --output=j", "--output=j", ["--output=json", ":4"]),
        ("boundtoken scan -fma", "-fma", [":0 -f"]),
        ("boundtoken scan --config=ma", "ma", [":0"]),
        ("boundtoken scan > ma", "ma", [":0"]),
        ("boundtoken", "", [":4"]),
    ],
)
def test_bash_gets_what_it_inserts(line: str, replaced: str, lines: list[str]) -> None:
    assert answer("--line", line, replaced) == lines


def test_a_closed_output_is_no_error() -> None:
    result = subprocess.run(
        ["sh", "-c", f"{BOUNDTOKEN} __complete expl >&-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_every_shell_that_is_offered_has_a_script() -> None:
    assert set(SHELLS) == set(SCRIPTS)
    for name in SHELLS:
        assert boundtoken("completion", name).stdout == SCRIPTS[name]


def test_static_answers_do_not_import_the_api_client() -> None:
    code = (
        "import atexit, os, sys; os._exit = lambda code: print([name for name in sys.modules if name in {'aiohttp', 'kubernetes', 'yaml'}]);"
        "from webhook.cli.completion.command import complete; complete(['explain', ''])"
    )
    result = subprocess.run(
        [BOUNDTOKEN.with_name("python"), "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"


TYPED = [
    ("boundtoken expla", "explain"),
    ("boundtoken inject --inject=rep", "--inject=replace"),
    ("boundtoken inject --inject rep", "replace"),
    ("boundtoken config check not", "notes.yaml"),
    ("boundtoken inject --config=not", "--config=notes.yaml"),
    ("boundtoken explain --show-patch deploym", "deployment/"),
    ("boundtoken explain --context admin", "admin@prod"),
    ("boundtoken explain --context arn:aws:e", "arn:aws:eks:x"),
    ("boundtoken explain --context=arn:a", "--context=arn:aws:eks:x"),
    ("boundtoken explain --context two", "two words"),
    (r"boundtoken explain --context two\ w", "two words"),
    ("boundtoken explain --context='two w", "--context=two words"),
    ('boundtoken explain --context "it', "it's all"),
    (r"boundtoken explain --context 'it'\''s a", "it's all"),
    (r"boundtoken explain --context a\\", r"a\b"),
    ("boundtoken explain --context=-d", "--context=-dash"),
    ("boundtoken 'scan' -otab", "-otable"),
    ("boundtoken scan -fno", "-fnotes.yaml"),
    ("boundtoken scan --fail-on stale,mi", "stale,missing"),
    ("boundtoken help no", "no"),
]
NAMES = ("admin@prod", "arn:aws:eks:x", "two words", "it's all", r"a\b", "-dash")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_a_real_shell_completes(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").touch()
    (tmp_path / "some folder").mkdir()
    (tmp_path / "some file").touch()
    contexts = [{"name": word} for word in NAMES]
    (tmp_path / "config").write_text(yaml.safe_dump({"contexts": contexts}))
    environ = {"KUBECONFIG": str(tmp_path / "config"), **PATIENT}
    for typed, expected in TYPED:
        words, _ = completed(name, typed, tmp_path, environ)
        # fish tells what is proposed, not the line.
        is_nothing = name == "fish" and expected == typed.split()[-1]
        assert words[-1:] == ([] if is_nothing else [expected]), typed
    words, _ = completed(name, "boundtoken certs init --out some", tmp_path, environ)
    assert [word.rstrip("/") for word in words[-1:]] == ["some folder"]
    words, listed = completed(name, "boundtoken exp", tmp_path, environ)
    assert "explain" in listed
    assert "export" in listed
    words, listed = completed(name, "boundtoken nonsense not", tmp_path, environ)
    assert "notes.yaml" not in words
