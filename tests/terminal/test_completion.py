"""What may stand at the end of a command line, by the parser of all commands."""

import argparse
from collections.abc import Iterator

import pytest

from webhook.cli.main import parser
from webhook.cli.manifest_arguments import POLICY
from webhook.core import names, policy
from webhook.terminal import completion
from webhook.terminal.completion import FOLDERS, MAX_CANDIDATES, NO_FILES, Candidate


def line(text: str) -> completion.Line:
    """The line of these words, of which the last one may be empty."""
    return completion.read(parser(), text.split(" "))


def words(text: str) -> list[str]:
    return [candidate.word for candidate in line(text).candidates]


def all_commands(of: argparse.ArgumentParser, *path: str) -> Iterator[tuple[str, ...]]:
    groups = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    yield path
    for group in groups:
        for name, command in group.choices.items():
            yield from all_commands(command, *path, name)


def test_a_value_may_follow_a_short_flag_at_once() -> None:
    assert line("explain -nshop pod/").flags["namespace"] == "shop"
    assert line("explain -xshop pod/").flags == {}
    assert line("scan -Anshop pod/").flags["namespace"] == "shop"
    assert line("scan -An shop pod/").flags["namespace"] == "shop"
    assert line("check workload deploy").kind == "object"
    assert line("check workload deploy").given == ()
    assert words("check ") == ["workload"]
    assert words("check nonsense ") == []


@pytest.mark.parametrize("path", [*all_commands(parser())][1:], ids=" ".join)
def test_every_command_is_found_with_all_its_flags(path: tuple[str, ...]) -> None:
    *before, name = path
    assert name in words(" ".join([*before, ""]))
    command: argparse.ArgumentParser = parser()
    for part in path:
        (group,) = (one for one in command._actions if isinstance(one, argparse._SubParsersAction))
        command = group.choices[part]
    flags = [flag for action in command._actions for flag in action.option_strings]
    assert words(" ".join([*path, "-"])) == flags
    assert words(" ".join([*path, "--"])) == [flag for flag in flags if flag.startswith("--")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("expl", ["explain"]),
        ("config ch", ["check"]),
        ("nonsense ", []),
        ("token request -o ", ["token", "json", "yaml", "env", "exec-credential"]),
        ("token request --output=j", ["json"]),
        ("token request -n shop -o y", ["yaml"]),
        ("inject --inject ", ["enabled", "replace", "disabled"]),
        ("serve --legacy-tokens=", ["on", "off"]),
        ("serve --log-level w", ["warning"]),
        ("version --cl", ["--client"]),
        ("explain -- --name", []),
        ("explain --show-patch --audit", ["--audit-log"]),
        ("token run cart -- kubectl --kube", []),
        ("token run cart kubectl --kube", []),
        ("token request -oj", ["json"]),
        ("scan -Aoj", ["json", "junit"]),
        ("scan -oxml", []),
        ("scan -xj", []),
        ("scan --fail-on st", ["stale", "strict"]),
        ("scan --fail-on=stale,missing,st", ["stale,missing,strict"]),
        ("token request --bound-object-kind ", ["Pod", "Secret", "Node"]),
        ("help f", ["failure-modes"]),
        ("help token req", ["request"]),
        ("help token request ", []),
        ("help reasons ", []),
        ("help nonsense to", []),
    ],
)
def test_closed_lists_are_those_of_the_parser(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_command_without_arguments_has_its_flags_left() -> None:
    assert words("version ") == words("version --")


@pytest.mark.parametrize(
    ("text", "kind", "current"),
    [
        ("config check we", "file", "we"),
        ("inject a.yaml we", "file", "we"),
        ("inject --namespace-file we", "file", "we"),
        ("serve --standalone one.yaml we", "file", "we"),
        ("token trace we", "file", "we"),
        ("certs init --out we", "folder", "we"),
        ("explain --namespace sh", "namespace", "sh"),
        ("explain --webhook-namespace=sh", "namespace", "sh"),
        ("token request -n sh", "namespace", "sh"),
        ("token request -nsh", "namespace", "sh"),
        ("scan -Ansh", "namespace", "sh"),
        ("scan -fma", "file", "ma"),
        ("check --dry-run-namespace sh", "namespace", "sh"),
        ("serve --context a", "context", "a"),
        ("explain deploy/ca", "object", "deploy/ca"),
        ("explain -n shop pod/a pod/b", "object", "pod/b"),
        ("token request ca", "account", "ca"),
        ("token request --for-pod ca", "pod", "ca"),
        ("token run cart -- kub", "file", "kub"),
        ("token request --duration 1", "", "1"),
        ("config schema x", "", "x"),
    ],
)
def test_other_values_are_known_by_their_metavar_or_flag(
    text: str, kind: str, current: str
) -> None:
    found = line(text)
    assert (found.candidates, found.kind, found.current) == ((), kind, current)


@pytest.mark.parametrize("text", ["help no", "completion x", "scan -o x", "scan --fail-on x"])
def test_no_file_is_proposed_where_a_list_has_no_such_word(text: str) -> None:
    assert completion.directive(line(text)) == NO_FILES


@pytest.mark.parametrize(
    ("text", "flag"),
    [("scan -o j", ""), ("scan -oj", "-o"), ("scan --output=j", "--output="), ("scan -o=j", "-o=")],
)
def test_a_flag_in_the_same_word_is_told_apart_from_its_value(text: str, flag: str) -> None:
    found = line(text)
    assert (found.flag, found.current) == (flag, "j")


def test_what_was_typed_before_is_remembered() -> None:
    found = line("explain --kubeconfig ~/k -n shop --context=a -n other deployment ca")
    assert found.given == ("deployment",)
    assert found.flags == {"kubeconfig": "~/k", "namespace": "other", "context": "a"}


def test_how_a_shell_goes_on() -> None:
    assert completion.directive(line("config check ")) == 0
    assert completion.directive(line("certs init --out ")) == FOLDERS
    assert completion.directive(line("expl")) == NO_FILES
    assert completion.directive(line("nonsense ")) == NO_FILES


def test_an_answer_is_what_kubectl_reads_of_its_plugins() -> None:
    found = completion.answer([Candidate("a", "what it is"), Candidate("b")], NO_FILES)
    assert found == "a\twhat it is\nb\n:4\n"
    assert completion.answer([], 0) == ":0\n"


def test_no_description_breaks_the_lines_of_an_answer() -> None:
    for path in all_commands(parser()):
        for candidate in (
            *line(" ".join([*path, ""])).candidates,
            *line(" ".join([*path, "-"])).candidates,
        ):
            assert candidate.description.isprintable(), candidate
            assert len(candidate.description) <= completion.MAX_DESCRIPTION


def test_no_more_is_proposed_than_a_person_looks_through() -> None:
    many = (Candidate(f"a{number}") for number in range(10_000))
    assert len(completion.matching(many, "a")) == MAX_CANDIDATES


@pytest.mark.parametrize("name", [name for name, metavar in POLICY.items() if not metavar])
def test_the_closed_values_of_a_flag_are_those_that_its_annotation_takes(name: str) -> None:
    values = words(f"inject --{name.removeprefix(names.DOMAIN)} ")
    assert len(values) > 1
    for value in (*values, "other"):
        found = policy.resolve_namespace(policy.ClusterPolicy(), {name: value})
        assert len(found.resolution.faults) == (value == "other")
