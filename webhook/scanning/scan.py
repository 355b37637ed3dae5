"""A scan: it is fed the objects of a cluster or of files, one after the other, and keeps of each
only what is told.

The order counts: namespaces, service accounts, Secrets and CSI drivers, then templates, then pods,
which are compared with the template that makes them. Of a pod whose owner's template is not known
it is worked out from the pod itself (`enforcement.forecast` has what that cannot see).
"""

import hashlib
from typing import Any, NamedTuple

import msgspec

from ..core.kinds import WORKLOADS
from ..core.policy import ClusterPolicy
from ..enforcement import preview
from ..simulation import explanation, living
from ..simulation.calling import Configuration
from ..simulation.explanation import DEFAULT_ACCOUNT
from ..simulation.templates import name_of
from . import again as admission_again
from . import coverage, findings, told, views
from .accounts import Accounts
from .again import Again
from .groups import Group
from .report import (
    LEVELS,
    SEVERITIES,
    Finding,
    LeftOut,
    Minter,
    Namespace,
    Report,
    Selection,
    Token,
    Unread,
    is_year_long,
)
from .space import Space, admission_in
from .templates import Template
from .tokens import Judge, TokenFacts, Tokens, tokens_of

JsonObject = dict[str, Any]
MAX_SHAPES = 20_000
"""Of pods that are judged once and remembered, some KB each: as many templates as a cluster with
10,000 pods has at most, twice."""


NEVER_OWNERS = ("Deployment", "CronJob")
"""They make pods by something between: a pod that names one as its controller was made by hand, and
is not what the template of that one gives."""
ENDS = ("Complete", "Failed")
"""Conditions of a Job that makes no pods any more."""


class Surroundings(NamedTuple):
    """What a scan is made in: the configuration of the cluster, and its mutating webhooks, None
    where they were not looked at or could not be seen. `is_configured` is False where the
    configuration could not be seen, so that the defaults count; `is_living` is False for files.
    """

    cluster: ClusterPolicy = ClusterPolicy()
    mutating: tuple[Configuration, ...] | None = None
    is_configured: bool = True
    is_living: bool = True


class _Judged(NamedTuple):
    """What is found of all pods that are alike."""

    found: Tokens
    year_long: int
    has: living.Tokens
    again: Again | None
    differs: bool


class Scan:
    """Collects what is found. `drivers` is to be set to None where they could not be seen, and
    `is_whole` to False where not every pod and template is added, so that nobody knows what is
    unused.
    """

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.accounts = Accounts()
        self.drivers: dict[str, views.CsiDriver] | None = {}
        self.minters: tuple[Minter, ...] = ()
        self.unread: dict[str, str] = {}
        self.selection = Selection()
        self.is_whole = True
        self._spaces: dict[str, Space] = {}
        self._tokens: list[Token] = []
        self._left_out: list[LeftOut] = []
        self._groups: dict[tuple[str, str, str], Group] = {}
        self._templates: dict[tuple[str, str], Template] = {}
        self._titles: dict[tuple[str, str], Template] = {}
        self._made_by: dict[tuple[str, str], tuple[str, living.Owner]] = {}
        self._shapes: dict[tuple[str, str, bytes], _Judged] = {}

    def add_namespace(self, namespace: views.Namespace, *, is_known: bool = True) -> None:
        """A namespace; `is_known` is False where only its name is known."""
        metadata = namespace.metadata
        labels = (metadata.labels or {}) if is_known else None
        admission = admission_in(metadata.name, self.around.cluster, metadata.annotations)
        why = coverage.why_uncovered(admission, labels, self.around.mutating)
        judge = Judge(self.around.cluster, admission.namespace, None, None)
        self._spaces[metadata.name] = Space(metadata.name, labels, admission, judge, is_known, why)

    def add_driver(self, driver: views.CsiDriver) -> None:
        """A CSI driver."""
        if self.drivers is not None and driver.spec.token_requests:
            self.drivers[driver.metadata.name] = driver

    def has_namespace(self, name: str) -> bool:
        return name in self._spaces

    def _space(self, name: str) -> Space:
        if name not in self._spaces:
            metadata = views.ScannedMetadata(name=name)
            self.add_namespace(views.Namespace(metadata), is_known=False)
        space = self._spaces[name]
        legacy = self.accounts.legacy_in(name)
        if space.judge.legacy is not legacy or space.judge.drivers is not self.drivers:
            space.judge = space.judge._replace(legacy=legacy, drivers=self.drivers)
        return space

    def add_workload(self, document: JsonObject, namespace: str, place: str = "") -> None:
        """An object with a pod template, of a manifest or as `views.Workload` decodes it.

        What a known kind makes is left to its owner, of files where that was added before and has
        the same tokens. Objects without a template are left out.
        """
        name = name_of(document)
        kind = str(document.get("kind", ""))
        title = f"{kind.lower()}/{name}"
        above: Template | None = None
        if (owner := _controller(document)) is not None and owner.kind in _MAKERS:
            of_owner = f"{owner.kind.lower()}/{owner.name}"
            above = self._titles.get((namespace, of_owner))
            if self.around.is_living or above is not None:
                self._made_by[namespace, title] = (of_owner, owner)
            if self.around.is_living or (above is not None and _makes_nothing(document)):
                return
        space = self._space(namespace)
        opts_out = self.accounts.opts_out(namespace, explanation.account_of(document))
        made = admission_again.again(document, space.admission, space.judge, opts_out=opts_out)
        if made is None or (above is not None and above.has(made)):
            return
        made = made if space.is_known else made._replace(is_missed=False, is_injected=False)
        group = Group(space, title, living.owner(kind, name, document), place=place)
        is_shown = not (kind == "Job" and _has_ended(document))  # which makes no pods any more
        self._keep(Template(made, group, is_shown))

    def add_pod(self, pod: views.Pod, place: str = "") -> None:
        """A living pod."""
        if pod.has_ended:
            return
        metadata = pod.metadata
        space = self._space(metadata.namespace)
        owner, title = self._owner(pod)
        template = self._titles.get((space.name, title)) if owner is not None else None
        judged = self._judged(pod, space, template, title)
        name = f"pod/{metadata.name}"
        account = pod.spec.service_account_name or DEFAULT_ACCOUNT
        for one in (template, self._titles.get((space.name, _title_of_controller(pod)))):
            if one is not None:
                one.compare(judged.found, account)
        self._tell(space, name, title, account, judged.found.tokens)
        space.pods += 1
        space.count(judged.found, year_long=judged.year_long)
        known = template.group.owner if template is not None else owner
        group = self._group(space, title or name, known, metadata.name, place)
        group.add(judged.found)
        if judged.again is not None:
            space.foresee(judged.again.found)
        # Defaults and locks that were not seen may be why a pod that we changed differs.
        is_comparable = self.around.is_configured or not judged.has.status
        is_ending = metadata.deletion_timestamp is not None  # nothing is to be done about it
        if judged.again is not None and is_comparable and not is_ending:
            group.compare(judged.has, judged.again, differs=judged.differs)
        is_needed = (
            template.again.needs_automount if template else admission_again.uses_automount(pod)
        )
        self.accounts.use(space.name, account, needs_automount=is_needed)
        self.accounts.mount(space.name, title or name, judged.found.secrets)

    def add_manifest(self, document: JsonObject, namespace: str, place: str) -> None:
        """A pod of a manifest, as it would be once it is created. One whose controller was added
        before is left to it where it has the same tokens.
        """
        space = self._space(namespace)
        opts_out = self.accounts.opts_out(namespace, explanation.account_of(document))
        made = admission_again.again(document, space.admission, space.judge, opts_out=opts_out)
        if made is None:
            return
        if (owner := _controller(document)) is not None:
            labels = explanation.member(explanation.member(document, "metadata"), "labels")
            kind, name = preview.owner_of(owner.kind, owner.name, labels)
            title = f"{kind.lower()}/{name}"
            title = self._made_by.get((namespace, title), (title, owner))[0]
            above = self._titles.get((namespace, title))
            if above is not None and above.has(made):
                return
        group = Group(space, f"pod/{name_of(document)}", place=place)
        self._keep(Template(made, group, is_shown=True))

    def _keep(self, template: Template) -> None:
        name, title = template.group.space.name, template.group.title
        # Files may have one of the same name twice, which a cluster has not.
        key = title if self.around.is_living else f"{title}#{len(self._templates)}"
        self._templates[name, key] = template
        self._titles.setdefault((name, title), template)

    def _owner(self, pod: views.Pod) -> tuple[living.Owner | None, str]:
        """What makes a pod again, and its title; nothing for a bare pod."""
        owner, namespace = views.owner_of(pod.metadata), pod.metadata.namespace
        controller = pod.metadata.controller
        if owner is None or (controller is not None and controller.kind in NEVER_OWNERS):
            return None, ""
        title, own = f"{owner.kind.lower()}/{owner.name}", _title_of_controller(pod)
        above = self._made_by.get((namespace, title))
        if above is not None:
            return above[1], above[0]
        if (namespace, title) not in self._titles and (
            own_one := self._titles.get((namespace, own))
        ):
            return own_one.group.owner, own  # a ReplicaSet whose Deployment is in no file
        return owner, title

    def _judged(
        self, pod: views.Pod, space: Space, template: Template | None, title: str
    ) -> _Judged:
        shape = preview.shape_of(pod.metadata, pod.spec)
        key = (space.name, title if template is not None else "", shape)
        judged = self._shapes.get(key)
        if judged is None:
            judged = self._judge(pod, space, template)
            if len(self._shapes) < MAX_SHAPES:
                self._shapes[key] = judged
        return judged

    def _judge(self, pod: views.Pod, space: Space, template: Template | None) -> _Judged:
        full = pod.as_full
        found = tokens_of(pod, space.judge)
        year_long = sum(is_year_long(one.lifetime_seconds) for one in found.tokens)
        has = living.tokens_of(full)
        made: Again | None = None
        if template is not None:
            made = template.again
        elif space.is_known:
            document = living.created_from(full, pod.metadata.labels)
            opts_out = self.accounts.opts_out(
                space.name, pod.spec.service_account_name or DEFAULT_ACCOUNT
            )
            made = admission_again.again(document, space.admission, space.judge, opts_out=opts_out)
        differs = made is not None and space.is_known and admission_again.differs(full, made)
        return _Judged(found, year_long, has, made, differs)

    def _group(
        self, space: Space, title: str, owner: living.Owner | None, pod: str, place: str
    ) -> Group:
        # Of an owner there is one. Files may have bare pods of the same name.
        key = (space.name, title, place if owner is None else "")
        if key not in self._groups:
            self._groups[key] = Group(space, title, owner, pod, place)
        return self._groups[key]

    def _tell(
        self,
        space: Space,
        name: str,
        owner: str,
        account: str,
        tokens: tuple[TokenFacts, ...],
    ) -> None:
        kept = told.told(tokens)
        self._tokens += [Token(space.name, name, owner, account, *token) for token in kept]
        if more := len(tokens) - len(kept):
            self._left_out.append(LeftOut(space.name, name, owner, more))

    def _add_templates(self) -> None:
        """The templates that have no living pods, and of the others what no pod of them has."""
        for (namespace, _), template in self._templates.items():
            if not template.is_shown:
                continue
            if template.has_pods:
                self._add_edited(namespace, template)
                continue
            made, group = template.again, template.group
            self._add_template(group, made, made.found)
            self._spaces[namespace].foresee(made.found)
            group.compare(made.has, made, differs=False)
            needs_automount = made.needs_automount
            self.accounts.use(namespace, made.account, needs_automount=needs_automount)
            self.accounts.mount(namespace, group.title, made.found.secrets)
        self._templates = {}

    def _add_edited(self, namespace: str, template: Template) -> None:
        made, group = template.again, template.group
        if template.rest:
            level = min((one.level for one in template.rest), key=LEVELS.index)
            found = made.found._replace(tokens=template.rest, level=level)
            # The rest of it is told of the group of its pods.
            group.is_edited = True
            self._add_template(group, made._replace(faults=(), problem=""), found)
        if not template.is_account_used:
            self.accounts.use(namespace, made.account, needs_automount=made.needs_automount)
        self.accounts.mount(namespace, group.title, sorted(template.secrets))

    def _add_template(self, group: Group, made: Again, found: Tokens) -> None:
        year_long = sum(is_year_long(one.lifetime_seconds) for one in found.tokens)
        self._tell(group.space, group.title, "", made.account, found.tokens)
        group.space.count(found, year_long=year_long)
        group.add(found)
        group.again = made
        self._groups[group.space.name, f"template {len(self._groups)}", group.place] = group

    def interrupt(self) -> None:
        """Say that not everything was added."""
        self.unread["the rest"] = "interrupted: what follows was not looked at"

    def report(self, time: str, context: str = "", *, complete: bool = True) -> Report:
        """Everything that was found. It can be called once."""
        self._add_templates()
        secrets = self.accounts.told_secrets()
        is_whole = self.is_whole and complete
        accounts = self.accounts.told_accounts() if is_whole else ()
        found = [
            *(one for group in self._groups.values() for one in findings.of_group(group)),
            *(one for space in self._spaces.values() for one in findings.of_space(space)),
            *(findings.of_secret(one, is_whole=is_whole) for one in secrets),
            *(one for account in accounts for one in findings.of_account(account)),
        ]
        return Report(
            time=time,
            context=context,
            complete=complete,
            selection=msgspec.structs.replace(
                self.selection, configuration=_hash_of(self.around.cluster)
            ),
            namespaces=self._namespaces(),
            tokens=tuple(sorted(self._tokens, key=_order)),
            left_out=tuple(self._left_out),
            findings=tuple(sorted(found, key=_severest)),
            secrets=secrets,
            service_accounts=accounts,
            minters=self.minters,
            unread=tuple(Unread(what, why) for what, why in self.unread.items()),
        )

    def _namespaces(self) -> tuple[Namespace, ...]:
        return tuple(self._spaces[name].told() for name in sorted(self._spaces))


_MAKERS = frozenset(workload.kind for workload in WORKLOADS if not workload.is_owned)
"""Kinds whose templates are added, so that what they make is not."""


def _hash_of(cluster: ClusterPolicy) -> str:
    """Of the configuration, with boundtoken's own namespace and the API server's audiences."""
    content = msgspec.json.encode(cluster, order="deterministic")
    return hashlib.sha256(content).hexdigest()[:8]


def _title_of_controller(pod: views.Pod) -> str:
    controller = pod.metadata.controller
    return "" if controller is None else f"{controller.kind.lower()}/{controller.name}"


def _makes_nothing(document: JsonObject) -> bool:
    """Whether it is a ReplicaSet that its Deployment keeps for a rollback, or a Job that ended."""
    return explanation.member(document, "spec").get("replicas") == 0 or _has_ended(document)


def _has_ended(job: JsonObject) -> bool:
    status = job.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return any(
        isinstance(one, dict) and one.get("type") in ENDS and one.get("status") == "True"
        for one in (conditions if isinstance(conditions, list) else ())
    )


def _controller(document: JsonObject) -> living.Owner | None:
    metadata = document.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    for owner in owners if isinstance(owners, list | tuple) else ():
        if isinstance(owner, dict) and owner.get("controller") is True:
            kind, version = str(owner.get("kind", "")), str(owner.get("apiVersion", ""))
            return living.Owner(living.owner_kind(kind, version), str(owner.get("name", "")))
    return None


def _order(token: Token) -> tuple[int, int, str, str, str]:
    return *told.severity(token), token.namespace, token.object, token.volume


def _severest(finding: Finding) -> tuple[int, str, str, str]:
    rank = SEVERITIES.index(finding.severity)
    return rank, finding.code, finding.namespace, finding.object


def document_of(workload: views.Workload, api_version: str, kind: str) -> JsonObject:
    """An object of a list, which has no kind there, as `add_workload` takes it."""
    made: JsonObject = msgspec.json.decode(msgspec.json.encode(workload))
    return {"apiVersion": api_version, "kind": kind, **made}
