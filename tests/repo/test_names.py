"""Names of variables, parameters and functions are the noun of what they hold."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.paths import ROOT

INSTEAD = {
    "asked": "requested, annotations, …",
    "each": "the noun: container, path, …",
    "held": "tokens, connections, …",
    "said": "message, warnings, stderr, status, …",
    "settled": "resolution, policy, …",
    "wanted": "expected, requested, …",
}
"""Words that hide the type, and what stands there instead."""
FIELDS = ("id", "attr", "arg", "name", "asname", "rest")
"""Of a node of the syntax tree: where it has an identifier."""


def hiding_names(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and name where a part of a name is one of the words.

    Names of tests are sentences; strings and comments are not looked at.
    """
    for node in ast.walk(ast.parse(text)):
        for field in FIELDS:
            name = getattr(node, field, None)
            if not isinstance(name, str) or name.startswith("test_"):
                continue
            if not INSTEAD.keys().isdisjoint(name.lower().split("_")):
                yield node.lineno, name  # type: ignore[attr-defined]


@pytest.mark.parametrize("folder", ["certs", "tests", "webhook"])
def test_a_name_is_the_noun_of_what_it_holds(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in hiding_names(path.read_text())
    ]
    assert found == [], f"better: {INSTEAD}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("held = WANTED", ["held", "WANTED"]),
        ("def _said_of(asked, *, each=1): ...", ["_said_of", "asked", "each"]),
        ("api.said(settled=1)", ["said", "settled"]),
        ("from a import b as each", ["each"]),
        ("match x:\n  case {'a': held, **said}: ...", ["said", "held"]),
        ("try: ...\nexcept E as held: ...", ["held"]),
        ("print(f'{held}')", ["held"]),
        ("def test_it_is_said(): 'what was said'\nreached = teach", []),
    ],
)
def test_a_hiding_name_is_found_wherever_it_stands(text: str, names: list[str]) -> None:
    assert sorted(name for _, name in hiding_names(text)) == sorted(names)


def test_a_line_is_named() -> None:
    assert list(hiding_names("a = 1\n\nsaid = a")) == [(3, "said")]
