"""Texts are read within bounds, into documents that are the text again."""

import builtins
from typing import Any

import pytest
import yaml

from webhook.yamledit import nodes, scalars
from webhook.yamledit.nodes import Refused


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "a: 1",
        "---\na: 1\n---\n",
        "# c\n---\na: 1\n# d\n--- # e\nb: 2\n...\n# f\n---\nc: 3",
        "%YAML 1.1\n---\na: 1\r\n...\r\n--- # c\r\nb: 2\r\n",
        "--- 1\n--- [a]\n---\n- b\n",
        '{"a": 1}',
    ],
)
def test_the_documents_together_are_the_text(text: str) -> None:
    found = nodes.documents(text)
    assert "".join(document.text for document in found) == text
    expected = list(yaml.safe_load_all(text))
    assert [document.value for document in found] == (expected or [None])
    assert [document.line for document in found] == [
        1 + text[: sum(len(one.text) for one in found[:number])].count("\n")
        for number in range(len(found))
    ]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a key is there twice"),
        ('{"a": {"b": 1,\n"b": 2}}', "line 2: a key is there twice"),
        (BOMB, "line .: at most 500000 values are allowed, and 4000000"),
        ("a: &a [*a]\n", "line 1: at most 200 levels are allowed, aliases"),
        ("[" * 300 + "]" * 300, "line 1: at most 200 levels"),
        ("".join(" " * number + "a:\n" for number in range(300)), "line .*: at most 200 levels"),
        ("a: *b\n", "line 1: an alias has no anchor before it"),
        ("a: [1\nb: 2\n", "line 2: must be YAML or JSON: "),
        ("a: {{ .Values.a }}\n", "line 1: .*looks like a template.*helm template"),
        ("a: {{ .Values.a }}\nb: {{- if c }}\n", "line .*looks like a template"),
        ("{}\n{}\n", "line 2: must be one object: put several into a List, or ---"),
        ("a: &a x\nb: [" + "*a, " * 1_000_001 + "]", "line 2: at most 500000 values are allowed"),
        ("? [a]\n: b\n", "line 1: a key must be a string"),
        ("a:\n  <<: 1\n", "line 2: << must be followed by a map"),
        ("a: \x01\n", "a character in it is not allowed"),
        ("a: 1\n---\nb: 1\nb: 2\n", "line 4: a key is there twice"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        nodes.documents(text)


@pytest.mark.parametrize(
    "text",
    ["", "~", "null", "true", "Yes", "off", "0", "-12", "+3", "0x1F", "017", "0b11", "1.5", "1e3", "x", "1.2.3", "a1"],
)  # fmt: skip
def test_a_plain_scalar_means_what_it_means_to_kubernetes(text: str) -> None:
    expected = {"1e3": 1000.0}.get(text, yaml.safe_load(f"[{text}]")[0] if text else None)
    assert scalars.resolved(text) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [("y", True), ("Y", True), ("n", False), ("N", False), ("1_000", 1000), ("-0x_ff", -255), ("1_0.5", 10.5), ("_1", "_1"), ("no_", "no_")],
)  # fmt: skip
def test_where_kubernetes_reads_more_than_pyyaml(text: str, value: object) -> None:
    assert scalars.resolved(text) == value


def test_a_tag_decides_what_a_scalar_is() -> None:
    text = "[!!int '1', !!str 1, ! 1, !!bool \"true\", !other '1', '1']"
    assert nodes.documents(text)[0].value == [1, "1", "1", True, "1", "1"]


def test_numbers_that_json_cannot_have_stay_texts() -> None:
    assert scalars.resolved("." + "9" * 400 + "e9999") == "." + "9" * 400 + "e9999"
    assert [scalars.resolved(text) for text in (".nan", ".inf", "1" * 5000)] == [
        ".nan",
        ".inf",
        "1" * 5000,
    ]


def test_maps_are_merged_as_yaml_does() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\n"
    assert nodes.documents(text)[0].value == yaml.safe_load(text)


def test_without_ruamel_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("ruamel"):
            raise ImportError
        return there(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(nodes.MissingTool, match=r"pip install 'boundtoken\[cli\]'"):
        nodes.place("a: 1\n", 1)
