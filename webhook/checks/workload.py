"""The usual complaints about one workload, each as a check."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from ..core import names
from ..core.full_views import FullPod
from ..core.levels import LATEST, LevelVersion
from ..core.limits import Limits
from ..enforcement import rules
from ..enforcement.facts import Facts
from .facts import NOT_LOOKED_AT
from .model import (
    Check,
    Finding,
    NotSeen,
    Unseen,
    all_of,
    failed,
    is_name,
    listed,
    passed,
    there,
    warning,
    worst,
)

GROUP = "Workload"
MOUNT_RULE = "token-mount"
SUB_PATH = "never refreshed"
"""In the problem that the rule tells of a mount by subPath."""


OPTING_OUT = {
    "pod-opted-out": "their spec says automountServiceAccountToken: false, or they are annotated "
    "with inject=disabled, which holds against the namespace and not against their own inject=enabled",
    "nothing-to-replace": "inject=replace adds a token only where Kubernetes has mounted one, and "
    "their spec or service account says automountServiceAccountToken: false",
}
"""Reasons by which pods have no token because somebody wants none: what they mean."""
TEMPLATE_OPTS_OUT = (
    "their spec says automountServiceAccountToken: false, against which an annotation of the "
    "namespace does nothing"
)
ANNOTATE_IT_ALONE = (
    "Somebody has decided that its pods have none: leave it, or annotate the workload alone, "
    "boundtoken.dev/inject=enabled, where they need a token."
)
NO_OVERRIDES = (
    "Somebody has decided that its pods have none, and the namespace lets no pod change that: leave "
    "it, or ask whoever annotates the namespace."
)
NEVER_EXPIRES = (
    "It is populated. Mount a projected token, which expires, and delete the Secret once nobody "
    "uses it (boundtoken scan)."
)


REFUSED = "its pods are refused, so that there is none to look at"


class Frozen(NamedTuple):
    """A mount by subPath: what was there when the container started is there still."""

    container: str
    path: str
    since: datetime


class PodToken(NamedTuple):
    """A token of a pod: its file, its audience (empty: the API server's own), its seconds, where it
    is mounted, and which running containers have it as it was when they started.
    """

    volume: str
    file: str
    audience: str
    seconds: int
    paths: tuple[str, ...]
    frozen: tuple[Frozen, ...] = ()

    @property
    def is_at_default(self) -> bool:
        """Whether clients in the cluster find it."""
        return self.file == names.TOKEN_FILE and names.DEFAULT_PATH in self.paths


class OfSecrets(NamedTuple):
    """The Secrets of which a pod has a legacy token in a container, and those of which it has one
    if they have: they could not be read.
    """

    known: tuple[str, ...] = ()
    possible: tuple[str, ...] = ()


class Pod(NamedTuple):
    """A pod of the workload: what it has, whether it differs from what it would get, and why."""

    name: str
    created: datetime | None
    tokens: tuple[PodToken, ...]
    differs: bool | None = None
    causes: tuple[str, ...] = ()
    of_secrets: OfSecrets = OfSecrets()

    @property
    def has_token(self) -> bool:
        """Whether a container has a token that is known of."""
        return any(token.paths for token in self.tokens) or bool(self.of_secrets.known)


class Refusal(NamedTuple):
    """An event of pods that were not made: what it is about, when it came last, and how often."""

    object: str
    time: datetime | None
    message: str
    times: int = 1


class Secret(NamedTuple):
    """A Secret that the pods use, without its content: whether it has a token that it lacks."""

    is_token: bool = False
    has_token: bool = False


@dataclasses.dataclass
class Workload:
    """What was seen of it. `problems` are those of the way to boundtoken and of admission."""

    title: str
    namespace: str
    now: datetime
    account: str = ""
    is_account_missing: bool | Unseen = NOT_LOOKED_AT
    reason: str | Unseen = NOT_LOOKED_AT
    """What boundtoken decides on its pods."""
    requested: bool = False
    """Whether somebody requests a token of boundtoken for them."""
    namespace_inject: str = ""
    """What the namespace is annotated with; empty where it is not."""
    can_override: bool = True
    """Whether inject=enabled of a workload is heeded in its namespace."""
    faults: tuple[str, ...] = ()
    unreached: tuple[str, ...] | Unseen = NOT_LOOKED_AT
    refusals: tuple[Refusal, ...] = ()
    denial: str = ""
    would: tuple[PodToken, ...] | Unseen = NOT_LOOKED_AT
    pods: tuple[Pod, ...] | Unseen = NOT_LOOKED_AT
    restart: str = ""
    restart_remark: str = ""
    api_audiences: tuple[str, ...] = ()
    """The API server's own, as far as they are known."""
    template: FullPod = dataclasses.field(default_factory=FullPod)
    would_of_secrets: OfSecrets = dataclasses.field(default_factory=OfSecrets)
    """Of a pod of this template."""
    bindings: tuple[str, ...] | Unseen = NOT_LOOKED_AT
    can: Mapping[str, bool | Unseen] = dataclasses.field(default_factory=dict)
    secrets: Mapping[str, Secret | Unseen | None] = dataclasses.field(default_factory=dict)

    @property
    def restarts(self) -> tuple[str, ...]:
        return (self.restart,) if self.restart else ()

    @property
    def remark(self) -> str:
        """What is to be known of the restart, as the end of a sentence."""
        return f"; {self.restart_remark}" if self.restart_remark else ""


def account(seen: Workload) -> Finding:
    title = f"serviceaccount/{seen.account}"
    if there(seen.is_account_missing):
        commands = (f"kubectl create serviceaccount {seen.account} -n {seen.namespace}",)
        text = f"there is no {title} in namespace {seen.namespace}"
        return failed(text, *(commands if is_name(seen.account) else ()))
    return passed(title)


def annotations(seen: Workload) -> Finding:
    return all_of(seen.faults, status="warning")


def called(seen: Workload) -> Finding:
    """Whether the API server calls boundtoken about its pods, and reaches it."""
    problems = there(seen.unreached)
    return all_of(problems, "boundtoken check", status="failed" if seen.requested else "warning")


def accepted(seen: Workload) -> Finding:
    """What would be refused now, and what events say of the past: nothing where a pod was made
    since. A denial of now that an event has is told once.
    """
    pods = seen.pods if isinstance(seen.pods, tuple) else ()
    newest = max((pod.created for pod in pods if pod.created is not None), default=None)
    found = [failed(seen.denial)] if seen.denial else []
    for one in seen.refusals:
        if newest is not None and one.time is not None and newest > one.time:
            continue
        when = f" at {one.time:%Y-%m-%dT%H:%MZ}" if one.time is not None else ""
        often = f", {one.times} times" if one.times > 1 else ""
        is_told = seen.denial and seen.denial in one.message
        message = "the same" if is_told else one.message
        found.append(failed(f"event FailedCreate of {one.object}{when}{often}: {message}"))
    return worst(*found, text="by no event, and not by what is enforced now")


def _is_refused(seen: Workload) -> bool:
    """Whether there are no pods because they are refused: then nothing is to be told of them."""
    return seen.pods == () and accepted(seen).status == "failed"


def injected(seen: Workload) -> Finding:
    """Whether each pod has what it would get now: one of before an annotation has not."""
    reason, pods = there(seen.reason), there(seen.pods)
    if _is_refused(seen):
        raise NotSeen(REFUSED)
    if not pods:
        return passed("it has no pods")
    differing = [pod for pod in pods if pod.differs]
    if differing:
        causes = list(dict.fromkeys(cause for pod in differing for cause in pod.causes))
        text = f"{len(differing)} of {len(pods)} pods differ from what they would get now"
        text = f"{text}: {listed(causes)}" if causes else text
        return failed(text + seen.remark, *seen.restarts)
    if any(pod.differs is None for pod in pods):
        return Finding("unknown", "what its pods would get now is not known")
    return passed(f"{reason}, {len(pods)} pod{'' if len(pods) == 1 else 's'}")


def has_token(seen: Workload) -> Finding:
    """Whether there is a token at all, in its pods, or in those that it would make."""
    pods = there(seen.pods)
    if _is_refused(seen):
        raise NotSeen(REFUSED)
    those = pods or (Pod("", None, there(seen.would), of_secrets=seen.would_of_secrets),)
    lacking = [pod for pod in those if not pod.has_token]
    if not lacking:
        used = dict.fromkeys(f"secret/{name}" for pod in those for name in pod.of_secrets.known)
        return passed(f"of {listed(list(used), ', ')}" if used else "")
    without = [pod for pod in lacking if not pod.of_secrets.possible]
    if not without:
        return Finding("unknown", listed(list(_possible(seen, lacking))))
    titles = listed([f"pod/{pod.name}" for pod in without], ", ")
    what = f"{titles} has none" if pods else "its pods would have none"
    reason = there(seen.reason)
    because = "; ".join(_decided(seen, reason))
    text = f"{what}; boundtoken's decision on its pods: {reason}{because and ': '}{because}"
    commands = (*_annotating(seen, reason), f"boundtoken explain {seen.title} -n {seen.namespace}")
    if because:
        cure = ANNOTATE_IT_ALONE if seen.can_override else NO_OVERRIDES
        return warning(text, *commands, cure=cure)
    return failed(text, *commands) if seen.requested else warning(text, *commands)


def _decided(seen: Workload, reason: str) -> Iterator[str]:
    """Why they have none, where somebody wants that: annotating the namespace would change nothing,
    or overrule it.
    """
    if reason in OPTING_OUT:
        yield OPTING_OUT[reason]
    if reason == "not-requested":
        if seen.template.spec.automount_service_account_token is False:
            yield TEMPLATE_OPTS_OUT
        if seen.namespace_inject and not seen.requested:
            yield f"namespace/{seen.namespace} says {names.INJECT}={seen.namespace_inject}"


def _possible(seen: Workload, lacking: list[Pod]) -> Iterator[str]:
    """The Secrets of which these pods may have a token, and why that is not known."""
    for name in dict.fromkeys(name for pod in lacking for name in pod.of_secrets.possible):
        secret = seen.secrets.get(name)
        why = secret.why if isinstance(secret, Unseen) else "it was not seen"
        yield f"secret/{name} may have the only one: {why}"


def _annotating(seen: Workload, reason: str) -> Iterator[str]:
    """The annotation that requests a token. One of a pod that is there changes nothing."""
    kind, _, name = seen.title.partition("/")
    if any(_decided(seen, reason)):
        if kind != "pod" and is_name(name) and seen.can_override:
            where = f"{seen.title} -n {seen.namespace}"
            yield f"kubectl annotate {where} {names.INJECT}=enabled --overwrite"
    elif reason == "not-requested":
        yield f"kubectl annotate namespace {seen.namespace} {names.INJECT}=enabled"


def audience(seen: Workload) -> Finding:
    """A token for somebody else where clients look for the API server's is answered with 401."""
    pods = there(seen.pods)
    tokens = [token for pod in pods for token in pod.tokens] if pods else there(seen.would)
    audiences = {one.audience for one in tokens if one.is_at_default}
    foreign = sorted(audiences - {"", *seen.api_audiences})
    if foreign:
        text = f"the token at {names.DEFAULT_PATH} is for {', '.join(foreign)}"
        return warning(f"{text}: the API server may answer it with 401")
    return passed("the API server's own at the default path")


def refreshed(seen: Workload) -> Finding:
    """A file that is mounted by subPath is never refreshed."""
    violations = rules.evaluate(Facts(seen.template), LevelVersion("strict", LATEST), Limits())
    found = []
    for one in violations:
        if one.rule == MOUNT_RULE:
            text = f"{' '.join(one.place)}: {one.problem}; {one.fix}"
            found.append(Finding("failed" if SUB_PATH in one.problem else "warning", text))
    return worst(*found)


def expired(seen: Workload) -> Finding:
    """A container that is older than a token that nobody refreshes in it has an expired one."""
    limits = Limits(api_audiences=seen.api_audiences)
    problems = []
    for pod in there(seen.pods):
        for token in pod.tokens:
            is_extended = limits.is_extended(token.seconds, (token.audience,))
            lives = names.YEAR_SECONDS if is_extended else token.seconds
            problems += [
                f"pod/{pod.name}: container {one.container} has the same token at {one.path} since "
                f"{one.since:%Y-%m-%dT%H:%MZ}, and it lives {lives} s"
                for one in token.frozen
                if (seen.now - one.since).total_seconds() > lives
            ]
    found = all_of(problems, *seen.restarts)
    return found._replace(text=found.text + seen.remark) if problems else found


def _role(seen: Workload, what: str) -> Iterator[str]:
    """The command that lets the account do something: with a role of its own, and none is bound
    where there is another of that name.
    """
    verb, _, resource = what.partition("/")
    where = f"-n {seen.namespace}"
    role = f"{seen.account}-{verb}-{resource.replace('/', '-')}"
    if is_name(seen.account) and is_name(role):
        account = f"{seen.namespace}:{seen.account}"
        made = f"kubectl create role {role} {where} --verb={verb} --resource={resource}"
        bound = (
            f"kubectl create rolebinding {role} {where} --role={role} --serviceaccount={account}"
        )
        yield f"{made} && {bound}"


def rights(seen: Workload) -> Finding:
    """Whether its account may do what was named; that it may do nothing is no fault."""
    found = []
    for what, answer in seen.can.items():
        if isinstance(answer, Unseen):
            found.append(Finding("unknown", answer.why))
        elif not answer:
            text = f"serviceaccount/{seen.account} may not {what.replace('/', ' ', 1)}"
            found.append(failed(text, *_role(seen, what)))
    if found or seen.can:
        return worst(*found, text=f"it may {', '.join(seen.can)}")
    bindings = there(seen.bindings)
    titles = listed(list(bindings), ", ") or f"no role is bound to serviceaccount/{seen.account}"
    return passed(f"none is named; {titles}")


def secrets(seen: Workload) -> Finding:
    """Whether each Secret that its pods use is there, and has the token that it is for."""
    found = []
    for name, secret in seen.secrets.items():
        title = f"secret/{name}"
        if isinstance(secret, Unseen):
            found.append(Finding("unknown", f"{title}: {secret.why}"))
        elif secret is None:
            found.append(failed(f"{title} is missing"))
        elif secret.is_token and not secret.has_token:
            text = f"{title} has no token: its annotation kubernetes.io/service-account.name names no account"
            found.append(failed(text))
        elif secret.is_token:
            found.append(warning(f"{title} has a token that never expires", cure=NEVER_EXPIRES))
    return worst(*found, text=f"{len(seen.secrets)} Secrets" if seen.secrets else "it uses none")


def checks() -> Iterator[Check[Workload]]:
    yield Check(
        "workload-account", GROUP, "its service account exists",
        "Create it: the API server refuses the pods until then.", account,
    )  # fmt: skip
    yield Check(
        "workload-annotations", GROUP, "its annotations have no faults",
        "Set what the fault says would be right.", annotations,
    )  # fmt: skip
    yield Check(
        "workload-called", GROUP, "the API server calls boundtoken about its pods",
        "boundtoken check shows what is wrong with the installation.", called,
    )  # fmt: skip
    yield Check(
        "workload-accepted", GROUP, "boundtoken refuses none of its pods",
        "Change the template as the message says, or the namespace's level; "
        "if a call failed, boundtoken check shows why.", accepted,
    )  # fmt: skip
    yield Check(
        "workload-injected", GROUP, "its pods have what they would get now",
        "Restart the workload: only new pods are changed.", injected,
    )  # fmt: skip
    yield Check(
        "workload-token", GROUP, "its pods have a token",
        "Annotate the namespace or the workload: boundtoken.dev/inject=enabled. Pods that "
        "opt out need it on the workload; leave them as they are if they need no token.", has_token,
    )  # fmt: skip
    yield Check(
        "workload-audience", GROUP, "the API server accepts the token at the default path",
        "Put the foreign one into boundtoken.dev/tokens, or to another mount path.", audience,
    )  # fmt: skip
    yield Check(
        "workload-refresh", GROUP, "its tokens are refreshed",
        "Mount the whole volume, read-only and without subPath.", refreshed,
    )  # fmt: skip
    yield Check(
        "workload-expired", GROUP, "no token has expired",
        "Restart the pods, then mount the whole volume without subPath.", expired,
    )  # fmt: skip
    yield Check(
        "workload-rights", GROUP, "its service account may do what --can names",
        "Bind a Role to it: boundtoken token rbac writes one.", rights,
    )  # fmt: skip
    yield Check(
        "workload-secrets", GROUP, "the Secrets that it uses are populated",
        "Create the Secret; a token is better projected than kept in one.", secrets,
    )  # fmt: skip
