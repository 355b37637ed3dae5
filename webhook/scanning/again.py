"""What admission would make of a pod now: by `simulation.explanation`, as `boundtoken explain`
tells it.
"""

from typing import Any, NamedTuple

import msgspec

from ..core.faults import Fault
from ..core.full_views import FullPod
from ..simulation import explanation, living
from ..simulation.admission import Admission
from ..simulation.explanation import DEFAULT_ACCOUNT, INJECTED, Explained
from .tokens import Judge, Tokens, automounts, tokens_of
from .views import Pod

JsonObject = dict[str, Any]


class Again(NamedTuple):
    """A pod that is made now. `reason` is the webhook's; `is_missed` whether a token of ours is
    requested and there is none even so; `needs_automount` whether it would lack a token if its
    service account did not automount. `problem` says why the webhook cannot read the object.
    """

    has: living.Tokens
    found: Tokens = Tokens((), ())
    containers: frozenset[str] = frozenset()
    account: str = DEFAULT_ACCOUNT
    reason: str = "not-applicable"
    is_injected: bool = False
    is_missed: bool = False
    needs_automount: bool = False
    faults: tuple[Fault, ...] = ()
    problem: str = ""


NOTHING = Again(living.Tokens("", ()))


def again(
    document: JsonObject, admission: Admission, judge: Judge, *, opts_out: bool
) -> Again | None:
    """What a pod of this object would get now; None for an object without a pod template.

    `opts_out` is what the service account of its pods says.
    """
    explained = explanation.explain(document, admission, opts_out=opts_out)
    if explained.problem:
        return NOTHING._replace(problem=explained.problem)
    try:
        pod = _pod(explained)
    except msgspec.ValidationError as problem:
        return NOTHING._replace(problem=str(problem))
    if pod is None:
        return None
    has = living.tokens_of(pod.as_full)
    return Again(
        has,
        tokens_of(pod, judge),
        frozenset(living.container_names(pod.as_full)),
        pod.spec.service_account_name or DEFAULT_ACCOUNT,
        explained.mutation.reason,
        explained.mutation.reason in INJECTED,
        explained.is_missed,
        not opts_out and _needs_automount(document, admission, has),
        explained.faults,
    )


def _pod(explained: Explained) -> Pod | None:
    if explained.pod is None:
        return None
    return msgspec.convert(explained.pod.object, Pod)


def _needs_automount(document: JsonObject, admission: Admission, has: living.Tokens) -> bool:
    without = _pod(explanation.explain(document, admission, opts_out=True))
    return without is None or living.tokens_of(without.as_full).tokens != has.tokens


def uses_automount(pod: Pod) -> bool:
    """The same of a living pod that nobody makes again, as far as it shows: it has a token by
    automounting, or may have had one.
    """
    return any(automounts(volume) for volume in pod.spec.volumes or ())


def differs(pod: FullPod, now: Again) -> bool:
    """Whether a living pod has other tokens than it would get now, those of its author aside."""
    common = now.containers & living.container_names(pod)
    return living.differ(living.tokens_of(pod), now.has, common)
