"""The flags that say which token to ask for, as several commands have them."""

import argparse
import time
from typing import TYPE_CHECKING

import msgspec

from ...errors import BadInput
from ...tokens.kubectl import create
from ...tokens.kubectl.create import CreatedToken, NewToken
from ...tokens.kubectl.pods import check_pod_name, pod_account
from ..process import say, warn

if TYPE_CHECKING:
    from .access import Access

UNKNOWN = "unknown"
"""Stands for a name that the kubeconfig or the pod will tell."""


def new_token(parsed: argparse.Namespace) -> NewToken:
    """What to ask for, by the flags alone; the namespace may still be unknown. Raises: BadInput"""
    names = parsed.account
    try:
        bound = create.bound_object(
            parsed.bound_object_kind, parsed.bound_object_name, parsed.bound_object_uid
        )
        if getattr(parsed, "for_pod", None) is not None:
            check_pod_name(parsed.for_pod)
            if names or bound is not None:
                raise ValueError(
                    "--for-pod takes account and object from the pod: leave out ACCOUNT and --bound-object-kind"
                )
            names = [UNKNOWN]
        return create.new_token(
            parsed.namespace or UNKNOWN,
            names,
            audiences=parsed.audience,
            duration=parsed.duration,
            bound_to=bound,
        )
    except ValueError as problem:
        raise BadInput(str(problem)) from None


def located(new: NewToken, parsed: argparse.Namespace, chosen: "Access") -> NewToken:
    """The same with its namespace; with --for-pod, with account and pod.

    Raises: as `pod_account` does
    """
    if getattr(parsed, "for_pod", None) is None:
        return msgspec.structs.replace(new, namespace=chosen.namespace)
    namespace, account, pod = pod_account(chosen.server, chosen.namespace, parsed.for_pod)
    return msgspec.structs.replace(new, namespace=namespace, account=account, bound_to=pod)


def created_token(chosen: "Access", new: NewToken) -> CreatedToken:
    """A new token, with a warning where it lives longer or shorter than it was asked to.

    Raises: as `create` does
    """
    created = create.create(chosen.server, new, _wait)
    if warning := create.lifetime_warning(new, created):
        warn(warning)
    return created


def _wait(seconds: float) -> None:
    say(f"the API server asks to wait for {seconds:.0f} s")
    time.sleep(seconds)
