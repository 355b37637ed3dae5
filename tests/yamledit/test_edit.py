"""A changed text: it has the value, and only the lines of what changed are other lines."""

import difflib
import json
import random
from typing import Any

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given, settings

from webhook.yamledit import nodes, spots
from webhook.yamledit.edit import Edited, edited, same
from webhook.yamledit.nodes import Refused

Json = Any


def change(text: str, value: Json, **how: bool) -> str:
    """The text with this value; the way back leads back."""
    (document,) = nodes.documents(text)
    found: Edited = edited(document, value, **how)
    assert same(nodes.documents(found.document.text)[0].value, value)
    assert spots.applied(found.document.text, found.back, 1)[0] == text
    return found.document.text


def test_what_is_around_a_change_stays_as_it_is() -> None:
    text = (
        "# above\r\n---\r\nspec:   # spaced\r\n    containers:\r\n    - name: 'a'   # first\r\n"
        "      args: [\"x\\ty\", 'z']\r\n      script: |+\r\n        one\r\n\r\n\r\n    # between\r\n"
        "    other: {a: [1, 2,], b: >-\r\n      }"
    )
    text = text.replace(", b: >-\r\n      }", "}")
    (document,) = nodes.documents(text)
    value = json.loads(json.dumps(document.value))
    value["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    value["spec"]["other"]["a"].append(3)
    value["spec"]["last"] = False
    assert (
        change(text, value)
        == text.replace(
            "\r\n\r\n\r\n    # between",
            "\r\n\r\n\r\n      volumeMounts:\r\n      - name: v\r\n        mountPath: /v\r\n    # between",
        ).replace("[1, 2,]", "[1, 2, 3,]")
        + "\r\n    last: false"
    )


@pytest.mark.parametrize(
    ("text", "value", "after"),
    [
        ("a: true", {"a": False}, "a: false"),
        ("a: 'x' # c\n", {"a": "y: z"}, "a: 'y: z' # c\n"),
        ('a: "x"\n', {"a": "y"}, 'a: "y"\n'),
        ("a: !!bool 'true' # b\n", {"a": False}, "a: false # b\n"),
        ("a: &x true\n", {"a": False}, "a: &x false\n"),
        ("a:\nb: 1\n", {"a": {"c": 1}, "b": 1}, "a:\n  c: 1\nb: 1\n"),
        ("a: # c\nb: 1\n", {"a": ["d"], "b": 1}, "a: # c\n- d\nb: 1\n"),
        ("a: [] # c\n", {"a": [{"b": 1}]}, "a: # c\n- b: 1\n"),
        ("a: {}", {"a": {"b": "1"}}, "a:\n  b: '1'"),
        ("a: ~\n", {"a": 1}, "a: 1\n"),
        ("a:\n- 1 # one\n- 2\n", {"a": [2]}, "a:\n- 2\n"),
        ("a:\n- 1\nb: 2\n", {"a": [], "b": 2}, "a: []\nb: 2\n"),
        ("a:\n  b: 1 # c\n", {"a": {}}, "a: {}\n"),
        ("- a: 1\n  b: 2\n", [{"b": 2}], "- b: 2\n"),
        ("a: 1\nb: 2", {"a": 1}, "a: 1"),
        ("a: [1, 2]", {"a": [2]}, "a: [2]"),
        ("a: [1, 2]", {"a": [1]}, "a: [1]"),
        ("{a: 1}", {"a": 1, "b": "c"}, '{a: 1, "b": "c"}'),
        ('{"a":[]}', {"a": [{"b": 1}]}, '{"a":[{"b":1}]}'),
        (
            '{\n    "a": []\n}\n',
            {"a": [{"b": "ü"}]},
            '{\n    "a": [\n        {\n            "b": "ü"\n        }\n    ]\n}\n',
        ),
        (
            '{\n\t"a": [\n\t\t1\n\t]\n}',
            {"a": [1, 2]},
            '{\n\t"a": [\n\t\t1,\n\t\t2\n\t]\n}',
        ),
        ("a: |\n  x\nb: 1\n", {"a": "z", "b": 1}, "a: z\nb: 1\n"),
        ("a:\n    b:\n      - c\n", {"a": {"b": ["c"], "d": ["e"]}}, "a:\n    b:\n      - c\n    d:\n      - e\n"),
        ("a:\n- b: 1\n  c: 2 # d\n- e\n", {"a": [{"f": [1], "g": 2}, "e"]}, "a:\n- f:\n  - 1\n  g: 2 # d\n- e\n"),
        ("a: # b\n  c: 1\nd: 1\n", {"a": [2], "d": 1}, "a: # b\n- 2\nd: 1\n"),
        ("a: 1\n...\n", {"a": 1, "b": 2}, "a: 1\nb: 2\n...\n"),
    ],
)  # fmt: skip
def test_a_change_is_as_small_as_its_place_allows(text: str, value: Json, after: str) -> None:
    assert change(text, value) == after


SHARED = "a: &m\n- 1\nb: *m\nc: {d: 1}\n"


def test_an_alias_that_may_follow_follows() -> None:
    assert change(SHARED, {"a": [1, 2], "b": [1, 2], "c": {"d": 1}}) == SHARED.replace(
        "- 1\n", "- 1\n- 2\n"
    )


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ({"a": [1, 2], "b": [1], "c": {"d": 1}}, "a: &m\n- 1\n- 2\nb:\n- 1\nc: {d: 1}\n"),
        ({"a": [1], "b": [1, 2], "c": {"d": 1}}, "a: &m\n- 1\nb:\n- 1\n- 2\nc: {d: 1}\n"),
    ],
)
def test_an_alias_that_may_not_is_told_and_written_out_on_demand(value: Json, after: str) -> None:
    with pytest.raises(Refused, match=r"line 3: an alias .*--expand-aliases"):
        change(SHARED, value)
    assert change(SHARED, value, expand_aliases=True) == after


def test_a_key_that_comes_by_merging_is_overridden_on_demand() -> None:
    text = "x: &b {v: [1]}\ny:\n  <<: *b\n  w: 1\n"
    value = {"x": {"v": [1]}, "y": {"v": [1, 2], "w": 1}}
    with pytest.raises(Refused, match="line 3: an alias"):
        change(text, value)
    after = "x: &b {v: [1]}\ny:\n  <<: *b\n  w: 1\n  v:\n  - 1\n  - 2\n"
    assert change(text, value, expand_aliases=True) == after


@pytest.mark.parametrize(
    ("text", "value", "why"),
    [
        ("a: !t x\n", {"a": "y"}, "line 1: a value with the tag"),
        ("? a\n: 1\n", {"a": 1, "b": 2}, "line 1: a key must stand alone"),
        ("- - 1\n  - 2\n", [[2]], "line 1: an entry beside a dash"),
        ("a: &x\n  b: 1\n", {"a": [1]}, "line 1: a value with an anchor"),
    ],
)
def test_what_cannot_be_changed_safely_is_refused_with_its_line(
    text: str, value: Json, why: str
) -> None:
    with pytest.raises(Refused, match=why):
        change(text, value)


KEYS = st.sampled_from(["name", "mountPath", "a", "b-c", "yes", "1", "ü", "a: b", ""])
TEXTS = st.sampled_from(
    [
        "",
        "x",
        "true",
        "1",
        "a: b",
        "# c",
        "it's",
        '"',
        "\t",
        "ü",
        "\U0001f600",
        "one\ntwo\n",
        "-",
        " x ",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4), st.dictionaries(KEYS, inside, max_size=4)
    ),
    max_leaves=12,
)


def texts(value: Json) -> list[str]:
    """The value in several styles."""
    return [
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, indent=4, ensure_ascii=False),
        json.dumps(value, separators=(",", ":"), ensure_ascii=False),
        yaml.safe_dump(value, sort_keys=False, allow_unicode=True),
        yaml.safe_dump(value, sort_keys=False, default_flow_style=True, width=20),
        yaml.safe_dump(value, sort_keys=False, indent=4, default_style='"'),
        yaml.safe_dump(value, sort_keys=False, explicit_start=True).replace("\n", "\r\n"),
    ]


def tweaked(value: Json, chance: random.Random) -> Json:
    """The value with a few changes of the kinds that are made."""
    if isinstance(value, dict):
        made = {key: tweaked(item, chance) for key, item in value.items() if chance.random() > 0.1}
        return made | (
            {"new": chance.choice([False, "x: y", [{"name": "v"}]])}
            if chance.random() < 0.3
            else {}
        )
    if isinstance(value, list):
        made_list = [tweaked(item, chance) for item in value if chance.random() > 0.1]
        return made_list + ([{"name": "v", "at": [1]}] if chance.random() < 0.3 else [])
    return chance.choice([False, "it's", 7]) if chance.random() < 0.1 else value


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), st.integers(0, 1 << 30))
@settings(deadline=None, max_examples=150)
def test_any_change_is_made_or_refused(value: Json, seed: int) -> None:
    after = tweaked(value, random.Random(seed))
    for text in texts(value):
        (document,) = nodes.documents(text)
        try:
            changed = change(text, after if same(document.value, value) else document.value)
        except Refused as problem:
            assert "safely" not in str(problem) or "? " in text, text
            continue
        # Whole lines that are in both come in the same order, and none is lost without need.
        if same(document.value, after):
            assert changed == text


def test_adding_touches_no_other_line() -> None:
    text = yaml.safe_dump({"spec": {"containers": [{"name": "a", "env": [{"name": "x"}]}]}})
    (document,) = nodes.documents(text)
    value = json.loads(json.dumps(document.value))
    value["spec"]["containers"][0]["volumeMounts"] = [{"name": "v"}]
    value["spec"]["volumes"] = [{"name": "v"}]
    lines = list(difflib.ndiff(text.splitlines(), change(text, value).splitlines()))
    assert [line for line in lines if line.startswith("-")] == []
