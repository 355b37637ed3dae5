"""What a document was before `inject`, where the result alone does not tell: in a comment at its
end, and in JSON, which has no comments, in an annotation of the pod template.
"""

import copy
from collections.abc import Iterator
from typing import Any

from ...core import names
from ...errors import MalformedReview
from ...simulation import templates
from ...simulation.templates import Path
from ...yamledit import nodes, record
from ...yamledit.edit import Edited, edited, same
from ...yamledit.nodes import Document, Refused
from .policies import members, put_back

EMPTY, NO_METADATA = ".", ":"
"""After what is remembered in an annotation: it is the only one in a map that was empty, or its
template had no metadata. The result has no other sign of it."""


def remembering(change: Edited, paths: tuple[Path, ...]) -> Document:
    """The changed document with what leads back.

    Raises: Refused, where that is too much
    """
    document = change.document
    try:
        word = record.packed(document.text, change.back)
    except ValueError as problem:
        raise Refused(document.begins, f"{problem}: give fewer objects in one document") from None
    if not document.is_json:
        text = record.with_comment(document.text, word)
        found = nodes.documents(text)[0]._replace(line=document.line, begins=document.begins)
        if recalled(found, paths) != (document, word):
            raise Refused(document.begins, "uninject could not restore it: end it with a newline")
        return found
    value = copy.deepcopy(document.value)
    for template in _injected(value, paths):
        mark = NO_METADATA if template.get("metadata") is None else ""
        if "annotations" in (template.get("metadata") or {}):
            mark = EMPTY if not templates.annotations(template) else ""
        metadata = template["metadata"] = template.get("metadata") or {}
        metadata["annotations"] = {
            **templates.annotations(template),
            names.BEFORE_INJECT: word + mark,
        }
        break
    found = edited(document, value).document
    if recalled(found, paths) != (document, word):
        raise Refused(
            document.begins,
            "uninject could not restore it: take empty maps and lists out, or write it in YAML",
        )
    return found


def recalled(document: Document, paths: tuple[Path, ...]) -> tuple[Document, str]:
    """The document without what was remembered, and this; empty where there is nothing."""
    text, word = record.without_comment(document.text)
    found = nodes.documents(text)[0] if word else document
    # Inside a string in quotes a line that looks like a comment is a part of a value.
    if word and same(found.value, document.value):
        return found._replace(line=document.line, begins=document.begins), word
    value, word = copy.deepcopy(document.value), ""
    for template in _injected(value, paths):
        annotations = templates.annotations(template)
        if names.BEFORE_INJECT in annotations:
            word = str(annotations.pop(names.BEFORE_INJECT))
            if not annotations and not word.endswith(EMPTY):
                del template["metadata"]["annotations"]
            if word.endswith(NO_METADATA) and not template["metadata"]:
                del template["metadata"]
            break
    if not word:
        return document, ""
    return edited(document, value).document, word.removesuffix(EMPTY).removesuffix(NO_METADATA)


def _injected(value: Any, paths: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
    """The pod templates of a document with an annotation of ours, else the first."""
    found = []
    for member in members(value):
        path = templates.template_path(member, paths)
        template = templates.at(member, path) if path is not None else None
        if isinstance(template, dict):
            found.append(template)
    ours = [one for one in found if names.OURS_ON_PODS & templates.annotations(one).keys()]
    yield from ours or found[:1]


def origin(document: Document, paths: tuple[Path, ...]) -> tuple[Document, bool]:
    """The document before `inject`, as far as it was remembered, and whether it is that to the
    byte. Without anything remembered it is the document itself.
    """
    found, word = recalled(document, paths)
    text = record.restored(found.text, word) if word else None
    if text is None:
        return found, False
    try:
        before, *others = nodes.documents(text)
        is_ours = not others and same(*(_beside(one.value, paths) for one in (before, found)))
    except (Refused, MalformedReview):
        is_ours = False
    if not is_ours:
        return found, False
    return before._replace(line=document.line, begins=document.begins), True


def _beside(value: Any, paths: tuple[Path, ...]) -> Any:
    """The value without what `inject` changes. A record that leads to anything else was not written
    by it: nobody who reads the file could see what it hides.
    """
    made = []
    for member in members(value):
        path = templates.template_path(member, paths)
        made.append(member if path is None else templates.beside(member, path))
    return put_back(value, made)
