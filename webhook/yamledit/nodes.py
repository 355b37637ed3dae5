"""The documents of a text: where each value stands in it, and what it is.

PyYAML reads a stream (libyaml, where PyYAML has it: 20 times as fast), and ruamel.yaml finds the
places in a document that changes. Both give the same events, so one builder serves both, and each
checks the other.

What is refused: duplicate keys, anchors that contain themselves, and what exceeds the bounds.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import yaml

from ..errors import BadInput
from . import scalars

MAX_DEPTH = 200
"""Of nested values: the deepest schema in a CustomResourceDefinition known to us has 90."""
MAX_VALUES = 500_000
"""Of one document, with aliases written out: nine lines of them can make a billion. A workload of
1.5 MB, which is all that etcd takes, has fewer."""
MAX_ALL_VALUES = 4_000_000
"""Of all documents of a text, or of several: some hundred MB of memory."""
MAX_DOCUMENTS = 50_000
"""In one text."""
MERGE = "<<"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STRINGS = ("!", "tag:yaml.org,2002:str")
OTHERS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null"))


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """A value in a text: `text[start:end]`. The end of a block of lines is that of its last value.

    `kind` is scalar, map, seq or alias. `style` of a scalar is its quote, | or >, or empty.
    """

    kind: str
    start: int
    end: int
    line: int
    style: str = ""
    flow: bool = False
    anchor: str = ""
    tag: str = ""
    text: str = ""
    items: list["Node"] = dataclasses.field(default_factory=list)
    """Of a list its items; of a map keys and values in turn."""
    target: "Node | None" = None
    """Of an alias."""

    def pairs(self) -> Iterator[tuple["Node", "Node"]]:
        """The keys and values of a map."""
        return zip(self.items[::2], self.items[1::2], strict=True)


class Document(NamedTuple):
    """One document of a stream: its text, with the comments around it, and its value."""

    text: str
    value: Any
    line: int
    """The line of the stream at which the text begins, from 1."""
    begins: int
    """The line at which the value begins."""
    is_json: bool
    """Whether it is in flow style as a whole, as JSON is."""
    items: tuple[int, ...] = ()
    """The lines at which the values of `items` begin, where it is a map with such a list."""


class Refused(BadInput):
    """A text that cannot be read or changed; says the line, which counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


def documents(text: str, values: "Values | None" = None) -> list[Document]:
    """The documents of a text, in order; put together their texts are the text. `values` counts
    those of several texts.

    Raises: Refused
    """
    values, found = values or Values(), []
    try:
        for start, root in _built(text, yaml.parse(text, Loader=_LOADER)):
            value = values.of_document(root)
            found.append((start, Document("", value, 0, root.line, root.flow, _items(root))))
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = (mark.line if mark else 0) + 1
        why = _hint(text, line) or f"must be YAML or JSON: {problem.problem}"
        if text.startswith("{") and "document start" in str(problem.problem):
            why = "must be one object: put several into a List, or --- between them"
        raise Refused(line, why) from None
    except yaml.YAMLError:
        raise Refused(1, "must be YAML or JSON: a character in it is not allowed") from None
    except Refused as problem:
        hint = _hint(text, problem.line)
        raise (Refused(problem.line, hint) if hint else problem) from None
    return _parts(text, found)


def _items(root: Node) -> tuple[int, ...]:
    if root.kind != "map":
        return ()
    lists = (value for key, value in root.pairs() if key.text == "items" and value.kind == "seq")
    return tuple(item.line for found in lists for item in found.items)


def _parts(text: str, found: list[tuple[int, Document]]) -> list[Document]:
    """The text in parts, one for each document, which begins where the last one ends."""
    if not found:
        return [Document(text, None, 1, 1, is_json=False)]
    starts = [0, *(start for start, _ in found[1:]), len(text)]
    parts, line = [], 1
    for number, (_, document) in enumerate(found):
        part = text[starts[number] : starts[number + 1]]
        parts.append(document._replace(text=part, line=line))
        line += part.count("\n")
    return parts


def place(text: str, line: int, *, quickly: bool = False) -> Node:
    """The value of the one document in a text, with the places of all that is in it. `line` is
    where the text begins, for messages. `quickly` lets PyYAML find them.

    Raises: Refused; MissingTool, without ruamel.yaml
    """
    if quickly:
        ((_, root),) = _built(text, yaml.parse(text, Loader=_LOADER), line - 1)
        return root
    try:
        from ruamel.yaml import YAML  # noqa: PLC0415  (of an extra: most processes do without)
        from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415
    except ImportError:
        raise MissingTool from None
    try:
        roots = list(_built(text, YAML(typ="safe", pure=True).parse(text), line - 1))
    except MarkedYAMLError as problem:
        mark = problem.problem_mark
        where = line + (mark.line if mark else 0)
        if "'\\t'" in str(problem.problem):
            raise Refused(
                where, "a tab is where ruamel.yaml reads spaces only: take it out"
            ) from None
        raise Refused(where, f"ruamel.yaml cannot read it: {problem.problem}") from None
    except YAMLError:
        raise Refused(line, "ruamel.yaml and PyYAML read the document differently") from None
    if len(roots) != 1:
        raise Refused(line, "must be one document")
    return roots[0][1]


class MissingTool(BadInput):
    """ruamel.yaml is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "to change files the package ruamel.yaml is needed: pip install 'boundtoken[cli]'"
        )


_TEMPLATE = "must be YAML, and looks like a template: give what it renders, such as the output of `helm template`"


NEAR = 3
"""Lines before the one where a parser gives up, in which the reason may stand."""


def _hint(text: str, line: int) -> str:
    """What a template of Helm should be instead; empty where the line looks like none."""
    lines = text.split("\n", line)[max(0, line - 1 - NEAR) : line]
    return _TEMPLATE if any("{{" in one for one in lines) else ""


def _built(  # noqa: C901  (one loop over all events)
    text: str, events: Iterable[Any], line: int = 0
) -> Iterator[tuple[int, Node]]:
    """Yield for each document where it starts, and its value."""
    start, anchors, stack = 0, dict[str, Node](), list[Node]()
    root: Node | None = None
    count = nodes = 0
    for event in events:
        kind = _KINDS.get(type(event).__name__)
        if kind is None:
            continue
        if kind == "document":
            start, anchors, root, nodes = event.start_mark.index, {}, None, 0
            count += 1
            if count > MAX_DOCUMENTS:
                raise Refused(event.start_mark.line + 1, f"at most {MAX_DOCUMENTS} documents")
        elif kind == "done":
            yield start, root or Node("scalar", start, start, line + 1)
        elif kind == "end":
            node = stack.pop()
            # The mark of a block is where the next token begins, after comments.
            node.end = event.end_mark.index if node.flow else _last_end(node)
        else:
            node = _node(kind, event, anchors, line)
            nodes += 1
            if nodes > 2 * MAX_VALUES:  # keys are nodes as well
                raise Refused(node.line, f"at most {MAX_VALUES} values are allowed")
            if stack:
                _put_after_colon(text, stack[-1], node)
                stack[-1].items.append(node)
            else:
                root = node
            if kind in ("map", "seq"):
                stack.append(node)
                if len(stack) > MAX_DEPTH:
                    raise Refused(node.line, f"at most {MAX_DEPTH} levels are allowed")


_KINDS = {
    "DocumentStartEvent": "document",
    "DocumentEndEvent": "done",
    "ScalarEvent": "scalar",
    "AliasEvent": "alias",
    "MappingStartEvent": "map",
    "MappingEndEvent": "end",
    "SequenceStartEvent": "seq",
    "SequenceEndEvent": "end",
}


def _node(kind: str, event: Any, anchors: dict[str, Node], line: int) -> Node:
    mark = event.start_mark
    node = Node(kind, mark.index, event.end_mark.index, line + mark.line + 1)
    anchor = str(event.anchor or "")
    if kind == "alias":
        node.text = anchor
        node.target = anchors.get(anchor)
        if node.target is None:
            raise Refused(node.line, "an alias has no anchor before it")
        return node
    node.anchor, node.tag = anchor, str(event.tag or "")
    if kind == "scalar":
        node.text = event.value
        node.style = (event.style or "").replace("plain", "")
    else:
        node.flow = bool(event.flow_style)
    if anchor:
        anchors[anchor] = node
    return node


_COLON = re.compile(r"[ \t]*:")


def _put_after_colon(text: str, holder: Node, node: Node) -> None:
    """Let a value that is left out stand after its colon: ruamel.yaml puts it after the comments,
    where the next value begins.
    """
    is_left_out = node.kind == "scalar" and not (node.style or node.text or node.anchor or node.tag)
    if is_left_out and holder.kind == "map" and len(holder.items) % 2:
        colon = _COLON.match(text, holder.items[-1].end)
        if colon is not None and colon.end() <= node.start:
            node.start = node.end = colon.end()


def _last_end(node: Node) -> int:
    return node.items[-1].end if node.items else node.end


def value_of(node: Node) -> Any:
    """What is there, with aliases written out, so that no part is in two places.

    Raises: Refused
    """
    return Values().of_document(node)


class Values:
    """Makes values, at most MAX_ALL_VALUES of them."""

    def __init__(self) -> None:
        self._count = self._end = 0

    def of_document(self, root: Node) -> Any:
        self._end = min(self._count + MAX_VALUES, MAX_ALL_VALUES)
        return self.of(root, 0)

    def of(self, node: Node, depth: int) -> Any:
        self._count += 1
        if self._count > self._end:
            limits = f"at most {MAX_VALUES} values are allowed, and {MAX_ALL_VALUES} in all"
            raise Refused(node.line, f"{limits}, aliases written out")
        if depth > MAX_DEPTH:
            # An anchor that contains its own alias has no end either.
            raise Refused(node.line, f"at most {MAX_DEPTH} levels are allowed, aliases written out")
        if node.kind == "scalar":
            is_string = node.tag in STRINGS or (node.style and node.tag not in OTHERS)
            return node.text if is_string else scalars.resolved(node.text)
        if node.kind == "alias":
            return self.of(node.target, depth + 1) if node.target else None
        if node.kind == "seq":
            return [self.of(item, depth + 1) for item in node.items]
        return self._map(node, depth)

    def _map(self, node: Node, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.pairs():
            key = key_of(key_node)
            if key in made or (key == MERGE and merged):
                raise Refused(
                    key_node.line, "a key is there twice in one map: take one of them out"
                )
            value = self.of(value_node, depth + 1)
            if key == MERGE and not key_node.style:
                for layer in value if isinstance(value, list) else [value]:
                    if not isinstance(layer, dict):
                        raise Refused(key_node.line, "<< must be followed by a map")
                    merged = {**layer, **merged}
            else:
                made[key] = value
        return {**merged, **made} if merged else made


def key_of(node: Node) -> str:
    """The text of a key. Raises: Refused, for a key that is a list or a map"""
    if node.kind == "alias" and node.target is not None:
        node = node.target
    if node.kind != "scalar":
        raise Refused(node.line, "a key must be a string")
    return node.text
