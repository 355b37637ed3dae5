"""Manifests after `inject` or `uninject`: texts, and what to tell of each object."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ... import documents as files
from ...core import policy
from ...core.policy import ClusterPolicy
from ...core.text import one_line
from ...errors import BadInput, MalformedReview
from ...simulation import explanation, templates
from ...simulation.admission import Admission
from ...simulation.templates import Path, Written
from ...yamledit.edit import edited, same
from ...yamledit.nodes import Document, Refused
from . import memory
from .policies import DEFAULT_NAMESPACE, Policies, members, placed, put_back
from .reading import Source

UNKNOWN = (
    "give --namespace-file, the Namespace beside it, --from-cluster, or flags such as --inject"
)
LEFT = "not-applicable"
NO_OBJECT = "no object of Kubernetes, which has a kind"
LIST = "a List in a List, which is not looked into: give its items by themselves"
NO_TEMPLATE = "it has no pod template"
CUSTOM = "a custom resource; --template-path says where its pod template is, if it has one"
RESTORED, TAKEN_OUT, NOT_INJECTED = "restored", "taken-out", "not-injected"
"""What `uninject` did: to the byte by what was remembered, or what is recognized as ours."""


class Entry(NamedTuple):
    """What became of one object. `reason` is the webhook's for its pods, or what `uninject` did."""

    file: str
    line: int
    kind: str
    name: str
    namespace: str
    reason: str
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    remark: str = ""


class Changed(NamedTuple):
    """A file after the change: its documents, and an entry for each object."""

    source: Source
    documents: list[Document]
    entries: list[Entry]

    @property
    def text(self) -> str:
        return self.source.mark + "".join(document.text for document in self.documents)

    @property
    def is_changed(self) -> bool:
        return any(
            old.text != new.text
            for old, new in zip(self.source.documents, self.documents, strict=True)
        )


class Changer:
    """Applies `inject` to sources under these policies; without policies `uninject`."""

    def __init__(
        self, policies: Policies | None, paths: tuple[Path, ...], *, expand_aliases: bool = False
    ) -> None:
        self._policies, self._paths, self._expand = policies, paths, expand_aliases
        cluster = ClusterPolicy()
        # Copies are taken out by the webhook's own rule, which no policy changes.
        self._plain = Admission(DEFAULT_NAMESPACE, cluster, policy.resolve_namespace(cluster, {}))

    def change(self, sources: Iterable[Source]) -> list[Changed]:
        """Every source after the change.

        Raises: BadInput, with every document that cannot be changed
        """
        faults: list[str] = []
        results = []
        for source in sources:
            documents, entries = [], list[Entry]()
            for document in source.documents:
                try:
                    changed, found = self._document(document, source.name)
                    if document is not source.documents[-1]:
                        _check_end(document, changed)
                except BadInput as problem:
                    faults += [one_line(f"{source.name}: {fault}") for fault in problem.faults]
                    continue
                documents.append(changed)
                entries += found
            results.append(Changed(source, documents, entries))
        if faults:
            raise files.refusal(faults)
        return results

    def _document(self, document: Document, file: str) -> tuple[Document, list[Entry]]:
        if self._policies is None:
            return self._uninjected(document, file)
        value, entries = self._transformed(document, file, self._inject)
        if same(value, document.value):
            return document, entries
        # What an earlier call wrote goes first: only the first text is to be remembered.
        before, _ = memory.origin(document, self._paths)
        if before != document:
            value, _ = self._transformed(before, file, self._inject)
        change = edited(before, value, expand_aliases=self._expand)
        if change.document.text == before.text or self._is_undone(change.document, before):
            return change.document, entries
        return memory.remembering(change, self._paths), entries

    def _is_undone(self, document: Document, before: Document) -> bool:
        """Whether `uninject` gives the text before, with nothing remembered."""
        value, _ = self._transformed(document, "", self._remove)
        try:
            return edited(document, value, quickly=True).document.text == before.text
        except Refused:
            return False

    def _uninjected(self, document: Document, file: str) -> tuple[Document, list[Entry]]:
        before, is_exact = memory.origin(document, self._paths)
        if is_exact:
            return before, self._restored(document, before, file)
        value, entries = self._transformed(before, file, self._remove)
        if before != document:
            remark = "the document has changed since inject, so it may differ from what was there"
            entries = [entry._replace(remark=remark) for entry in entries]
        return edited(before, value, expand_aliases=self._expand).document, entries

    def _restored(self, document: Document, before: Document, file: str) -> list[Entry]:
        entries = []
        for (line, now), then in zip(placed(document), members(before.value), strict=False):
            path = templates.template_path(then, self._paths)
            changes = () if path is None else templates.changes(now, then, path)
            reason = RESTORED if changes else LEFT if path is None else NOT_INJECTED
            entry = self._entry(file, line, then, path, reason)
            entries.append(entry._replace(changes=changes))
        return entries

    def _transformed(
        self,
        document: Document,
        file: str,
        work: Callable[[dict[str, Any], Path, Entry], tuple[dict[str, Any], Entry]],
    ) -> tuple[Any, list[Entry]]:
        """The value of a document with this work done on each of its objects.

        Raises: Refused, for an object that the webhook cannot read
        """
        made: list[Any] = []
        entries = []
        if document.value is not None and not isinstance(document.value, dict):
            entries.append(Entry(file, document.begins, "", "", "", LEFT, remark=NO_OBJECT))
        for line, member in placed(document):
            if not isinstance(member.get("kind"), str):
                made.append(member)
                entries.append(Entry(file, line, "", "", "", LEFT, remark=NO_OBJECT))
                continue
            path = templates.template_path(member, self._paths)
            if path is not None and not templates.has_spec(templates.at(member, path)):
                path = None  # a patch of kustomize, for example
            entry = self._entry(file, line, member, path, LEFT)
            if path is not None:
                try:
                    member, entry = work(member, path, entry)  # noqa: PLW2901
                except MalformedReview as problem:
                    _, _, text = one_line(str(problem)).rpartition("AdmissionReview: ")
                    what = f"{entry.kind}/{entry.name}: {text}"
                    raise Refused(line, what) from None
            made.append(member)
            entries.append(entry)
        return put_back(document.value, made), entries

    def _entry(
        self, file: str, line: int, member: dict[str, Any], path: Path | None, reason: str
    ) -> Entry:
        metadata = member.get("metadata")
        namespace = metadata.get("namespace") if isinstance(metadata, dict) else None
        default = self._policies.default if self._policies and path is not None else ""
        group, _ = templates.group_and_kind(member)
        is_custom = "." in group and not group.endswith(".k8s.io")
        is_list = isinstance(member.get("items"), list)
        remark = CUSTOM if is_custom else LIST if is_list else NO_TEMPLATE
        return Entry(
            file,
            line,
            str(member.get("kind", "")).lower(),
            templates.name_of(member),
            str(namespace or default),
            reason,
            remark=remark if path is None else "",
        )

    def _inject(
        self, member: dict[str, Any], path: Path, entry: Entry
    ) -> tuple[dict[str, Any], Entry]:
        policies = self._policies
        admission = policies.admission(entry.namespace) if policies is not None else None
        if policies is None or admission is None:
            return member, entry._replace(reason="namespace-unknown", remark=UNKNOWN)
        account = explanation.account_of(templates.at(member, path))
        opts_out = policies.opts_out(entry.namespace, account)
        found: Written = templates.inject(admission, member, path, opts_out=opts_out)
        changes = templates.changes(member, found.object, path)
        return found.object, entry._replace(
            reason=found.reason, changes=changes, warnings=found.warnings
        )

    def _remove(
        self, member: dict[str, Any], path: Path, entry: Entry
    ) -> tuple[dict[str, Any], Entry]:
        made = templates.remove(self._plain, member, path)
        changes = templates.changes(member, made, path)
        return made, entry._replace(reason=TAKEN_OUT if changes else NOT_INJECTED, changes=changes)


def _check_end(before: Document, after: Document) -> None:
    """A comment at the end would hide the document after it. Raises: Refused"""
    if after.text != before.text and not before.text.endswith("\n"):
        line = after.line + before.text.count("\n")
        raise Refused(
            line, "the line before --- must end with LF or CRLF: YAML has other line ends"
        )


def template_paths(parsed: argparse.Namespace) -> tuple[Path, ...]:
    """The paths of --template-path. Raises: BadInput"""
    paths = []
    for text in parsed.template_path or ():
        steps = tuple(text.split(".")[1:])
        if not text.startswith(".") or not all(steps):
            raise BadInput(
                f"--template-path={text!a}: must be a path of keys such as .spec.podTemplate"
            )
        paths.append(steps)
    return tuple(paths)
