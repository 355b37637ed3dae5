"""The text of a document, changed so that it has another value: only the lines of what changes.

The result is read again, and compared with the value that it must have. So a place that this module
misjudges is a refusal, and never a wrong file.
"""

import bisect
import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from . import nodes, scalars, writing
from .nodes import MERGE, Document, Node, Refused, key_of
from .spots import Edit, Spots, applied, joined

MAX_COMPARED = 2_000
"""Items of a list that are matched by their names, which takes the square of their number."""
MAX_SHOWN = 3


class Edited(NamedTuple):
    """The document after a change, and the edits that lead back."""

    document: Document
    back: list[Edit]


class _Holder(NamedTuple):
    """Where a value stands: in a map after `key`, or in a list."""

    node: Node
    key: Node | None = None


def edited(
    document: Document, value: Any, *, expand_aliases: bool = False, quickly: bool = False
) -> Edited:
    """The document with this value. `quickly`, for a text that nobody gets, PyYAML finds the places
    as well.

    Raises: Refused, where it cannot be changed safely, or an alias would carry a change to another
    place; MissingTool
    """
    if same(document.value, value):
        return Edited(document, [])
    root = nodes.place(document.text, document.line, quickly=quickly)
    if not same(nodes.value_of(root), document.value):
        raise Refused(document.line, "ruamel.yaml and PyYAML read the document differently")
    _check_end(document.text, root)
    spots = Spots(document.text, root, document.line)
    change = _Change(spots, expand_aliases=expand_aliases)
    change.value(root, document.value, value, None)
    change.expand(value)
    text, back = applied(document.text, joined(document.text, change.edits), document.line)
    found = nodes.documents(text)
    if len(found) != 1 or not same(found[0].value, value):
        change.refuse_aliases()
        raise Refused(
            document.line, "the document cannot be changed safely: write it in block style"
        )
    return Edited(found[0]._replace(line=document.line, begins=document.begins), back)


def _check_end(text: str, root: Node) -> None:
    """Lines after a block scalar would give it the newline that the text lacks. Raises: Refused"""
    last = root
    while last.items:
        last = last.items[-1]
    if last.style in ("|", ">") and not text.endswith("\n"):
        raise Refused(last.line, "the text ends in this value: put a newline at its end")


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: true is not 1, and the order of keys is nothing."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class _Change:
    def __init__(self, spots: Spots, *, expand_aliases: bool) -> None:
        self.spots, self.style = spots, spots.style
        self.expand_aliases = expand_aliases
        self.edits: list[Edit] = []
        self.changed: list[Node] = []
        """Aliases, or keys that come by <<, whose value must change."""

    def value(self, node: Node, old: Any, new: Any, holder: _Holder | None) -> None:
        """Change a value that stands at `node`."""
        if same(old, new):
            return
        if node.kind == "alias":
            self.changed.append(node)
        elif node.kind == "map" and node.items and isinstance(new, dict) and new:
            self._map(node, old, new, holder)
        elif node.kind == "seq" and node.items and isinstance(new, list) and new:
            self._list(node, old, new, holder)
        else:
            self._replace(node, new, holder)

    def _map(
        self, node: Node, old: dict[str, Any], new: dict[str, Any], holder: _Holder | None
    ) -> None:
        own = {key_of(key) for key, _ in node.pairs()}
        if not own & (new.keys() | {MERGE}):
            self._replace(node, new, holder)
            return
        removed = []
        for number, (key, item) in enumerate(node.pairs()):
            name = key_of(key)
            if name in new and name in old:
                self.value(item, old[name], new[name], _Holder(node, key))
            elif name != MERGE:
                removed.append(number)
        added = {name: item for name, item in new.items() if name not in old}
        for name in old.keys() - own:
            if name not in new or not same(old[name], new[name]):
                self._merged(node, name, new, added)
        self._remove(node, removed, 2)
        if added:
            self._add_keys(node, added)

    def _merged(self, node: Node, name: str, new: dict[str, Any], added: dict[str, Any]) -> None:
        """A key that comes by << and must change: it is overridden, where that may be done."""
        self.changed += [key for key in node.items[::2] if key_of(key) == MERGE]
        if self.expand_aliases and name in new:
            added[name] = new[name]

    def _list(self, node: Node, old: list[Any], new: list[Any], holder: _Holder | None) -> None:
        kept, removed, added = _matched(old, new)
        if not kept:
            self._replace(node, new, holder)
            return
        for at, to in kept:
            self.value(node.items[at], old[at], new[to], _Holder(node))
        self._remove(node, removed, 1)
        if added:
            self._add_items(node, [new[to] for to in added])

    def _remove(self, node: Node, numbers: list[int], width: int) -> None:
        """Remove entries; `width` is how many nodes make one."""
        count = len(node.items) // width
        for first, last in _runs(numbers):
            start, end = node.items[first * width], node.items[last * width + width - 1]
            if node.flow:
                self.edits.append(self._without_flow(node, (first, last), count, width))
                continue
            begin = self.spots.dash(start) if width == 1 else start.start
            if width == 2:  # noqa: PLR2004  (a key and its value)
                self.spots.colon(start)
            if self.spots.begins_line(begin):
                self.edits.append(self.spots.without_lines(begin, end.end))
            elif last + 1 < count and width == 2 and "#" not in self._gap(node, last):  # noqa: PLR2004
                # The first key of an item stands beside its dash, and the next takes its place.
                self.edits.append(Edit(begin, node.items[(last + 1) * 2].start, ""))
            else:
                raise Refused(
                    start.line, "an entry beside a dash cannot be removed: give it a line"
                )

    def _gap(self, node: Node, last: int) -> str:
        return self.spots.text[node.items[last * 2 + 1].end : node.items[last * 2 + 2].start]

    def _without_flow(self, node: Node, run: tuple[int, int], count: int, width: int) -> Edit:
        first, last = run
        if first:
            return Edit(
                node.items[first * width - 1].end, node.items[last * width + width - 1].end, ""
            )
        if last + 1 < count:
            return Edit(node.items[0].start, node.items[(last + 1) * width].start, "")
        raise Refused(node.line, "the map or list cannot be emptied and filled at once")

    def _add_keys(self, node: Node, added: dict[str, Any]) -> None:
        if node.flow:
            parts = [
                (f"{writing.scalar(name, self.style)}{self.style.colon}", item)
                for name, item in added.items()
            ]
            self._add_flow(node, parts, node.items[-2])
            return
        for key in node.items[::2]:
            self.spots.colon(key)
        column = self.spots.column(node.items[0].start)
        lines = writing.block(added, column, self.style)
        self.edits.append(self.spots.lines_at(self.spots.after_line(node.end), lines))

    def _add_items(self, node: Node, items: list[Any]) -> None:
        if node.flow:
            self._add_flow(node, [("", item) for item in items], node.items[-1])
            return
        column = self.spots.column(self.spots.dash(node.items[0]))
        lines = writing.block(items, column, self.style)
        self.edits.append(self.spots.lines_at(self.spots.after_line(node.end), lines))

    def _add_flow(self, node: Node, parts: list[tuple[str, Any]], last: Node) -> None:
        """Add entries at the end of a map or list in flow style, on lines of their own where the
        last one has its own.
        """
        end = node.items[-1].end
        if self.spots.begins_line(last.start):
            pad = self.spots.indentation(last.start)
            comma = f",{self.style.newline}{pad}"
        else:
            pad, comma = None, self.style.comma
        new = "".join(comma + name + writing.flow(item, self.style, pad) for name, item in parts)
        self.edits.append(Edit(end, end, new))

    def _replace(self, node: Node, new: Any, holder: _Holder | None) -> None:
        """Write another value where one stands."""
        start, spots = spots_start(self.spots, node), self.spots
        key = holder.key if holder is not None else None
        in_flow = holder is None or holder.node.flow
        is_block = node.kind in ("map", "seq") and not node.flow and node.items
        if is_block and holder is None:
            raise Refused(node.line, "the whole document would be replaced")
        if is_block and key is None:
            self._replace_item(node, new)
        elif key is not None and not in_flow and isinstance(new, dict | list):
            self._replace_by_container(node, new, key)
        elif is_block and key is not None:
            colon = spots.colon(key)
            self.edits.append(
                Edit(colon, spots.inline_end(node), f" {self._inline(node, new, None)}")
            )
        else:
            pad = self._pad(holder) if in_flow else None
            text = self._inline(node, new, pad)
            needs_space = start == node.end and spots.text[start - 1 : start] in (":", "-")
            self.edits.append(Edit(start, spots.inline_end(node), " " * needs_space + text))

    def _replace_item(self, node: Node, new: Any) -> None:
        """Write another value beside the dash of a list."""
        if node.anchor:
            raise Refused(
                node.line, "a value with an anchor would be replaced: take the anchor off"
            )
        text = self._inline(node, new, None)
        if isinstance(new, dict | list) and new:
            first, *others = writing.block(new, self.spots.column(node.start), self.style)
            text = self.style.newline.join((first.lstrip(), *others))
        self.edits.append(Edit(node.start, self.spots.inline_end(node), text))

    def _pad(self, holder: _Holder | None) -> str | None:
        """What stands before lines of a value that is filled in JSON of several lines."""
        if holder is None or holder.key is None or not self.spots.begins_line(holder.key.start):
            return None
        return self.spots.indentation(holder.key.start)

    def _inline(self, node: Node, new: Any, pad: str | None) -> str:
        if isinstance(new, dict | list):
            return writing.flow(new, self.style, pad)
        quote = node.style if node.style in ("'", '"') else ""
        if self.style.is_json:
            quote = '"'
        return scalars.written(new, quote=quote)

    def _replace_by_container(self, node: Node, new: Any, key: Node) -> None:
        spots = self.spots
        colon = spots.colon(key)
        if not new:
            text = " " + writing.flow(new, self.style)
            if node.kind in ("map", "seq") and node.items and not node.flow:
                self.edits.append(Edit(colon, colon, text))
                first = node.items[0]
                begin = spots.dash(first) if node.kind == "seq" else first.start
                self.edits.append(spots.without_lines(begin, node.end))
            else:
                self.edits.append(Edit(colon, spots.inline_end(node), text))
            return
        column = spots.column(key.start)
        column += self.style.step if isinstance(new, dict) else self.style.dash
        lines = writing.block(new, column, self.style)
        if node.anchor:
            raise Refused(
                node.line, "a value with an anchor would be replaced: take the anchor off"
            )
        if node.kind in ("map", "seq") and node.items and not node.flow:
            begin = spots.dash(node.items[0]) if node.kind == "seq" else node.items[0].start
            self.edits.append(spots.without_lines(begin, node.end))
            self.edits.append(spots.lines_at(spots.after_line(node.end), lines))
            return
        end = spots.inline_end(node)
        self.edits.append(Edit(colon, end, ""))
        self.edits.append(spots.lines_at(spots.after_line(end), lines))

    def expand(self, value: Any) -> None:
        """Write out the aliases whose anchor changes and that must not follow, or the reverse."""
        if not self.expand_aliases:
            return
        touched = self._touched() | {id(target) for target in self.changed}
        for alias, new, holder in _aliases(self.spots.root, value, None):
            if id(alias) in touched or id(alias.target) in touched:
                self._replace(alias, new, holder)

    def _touched(self) -> set[int]:
        """The ids of the anchors inside which something changes."""
        starts = sorted(edit.start for edit in self.edits)
        touched = set()
        for alias, _, _ in _aliases(self.spots.root, None, None):
            target = alias.target
            if target is not None:
                number = bisect.bisect_left(starts, target.start)
                last = self.spots.after_line(target.end)
                if number < len(starts) and starts[number] <= last:
                    touched.add(id(target))
        return touched

    def refuse_aliases(self) -> None:
        """Raises: Refused, if aliases are why the text has not the value that it must have."""
        touched = self._touched()
        lines = [alias.line for alias in self.changed]
        lines += [
            alias.line
            for alias, _, _ in _aliases(self.spots.root, None, None)
            if id(alias.target) in touched
        ]
        if not lines:
            return
        shown = ", ".join(map(str, sorted(set(lines))[:MAX_SHOWN]))
        raise Refused(
            lines[0],
            f"an alias would carry a change elsewhere, or a change is needed in it (line {shown}): "
            "--expand-aliases writes it out there",
        )


def spots_start(spots: Spots, node: Node) -> int:
    """Where the text begins that a new value replaces."""
    return node.start if node.kind == "alias" else spots.content(node)


def _aliases(
    node: Node, value: Any, holder: _Holder | None
) -> Iterator[tuple[Node, Any, _Holder | None]]:
    """Every alias with the value that it must have in the end, and where it stands."""
    if node.kind == "alias":
        yield node, value, holder
    elif node.kind == "map":
        for key, item in node.pairs():
            inside = value.get(key_of(key)) if isinstance(value, dict) else None
            if key_of(key) == MERGE:
                continue
            yield from _aliases(item, inside, _Holder(node, key))
    elif node.kind == "seq":
        for number, item in enumerate(node.items):
            inside = value[number] if isinstance(value, list) and number < len(value) else None
            yield from _aliases(item, inside, _Holder(node))


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbours together, as first and last."""
    first = last = -2
    for number in numbers:
        if number != last + 1:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


_Matching = tuple[list[tuple[int, int]], list[int], list[int]]


def _matched(old: list[Any], new: list[Any]) -> _Matching:
    """Which items stay, as pairs of indexes, which go, and which are added at the end."""
    by_index = (
        [(at, at) for at in range(min(len(old), len(new)))],
        list(range(len(new), len(old))),
        list(range(len(old), len(new))),
    )
    if max(len(old), len(new)) > MAX_COMPARED:
        return by_index
    kept: list[tuple[int, int]] = []
    removed: list[int] = []
    added: list[int] = []
    one, other = [_identity(item) for item in old], [_identity(item) for item in new]
    for verb, i, j, k, m in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        both = min(j - i, m - k) if verb != "equal" else j - i
        kept += [(i + at, k + at) for at in range(both)]
        removed += range(i + both, j)
        if k + both < m:
            if j < len(old):
                return by_index  # what is added must stand at the end
            added += range(k + both, m)
    return kept, removed, added


def _identity(item: Any) -> str:
    """What an item is known by: the path of a mount, the name of anything else."""
    if isinstance(item, dict):
        for name in ("mountPath", "name"):
            if isinstance(item.get(name), str):
                return f"{name}={item[name]}"
    return json.dumps(item, sort_keys=True)
