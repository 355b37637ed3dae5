"""Checks that try it: requests in a dry run, which change nothing and need the right to be made."""

from collections.abc import Iterator

from ..core import names
from .facts import Installation, Probe
from .model import Check, Finding, failed, passed, there, warning, worst

GROUP = "Tried in a dry run"
ELSEWHERE = "; name another namespace with --dry-run-namespace"
NOT_TRIED = (
    "That is as annotated or configured, and tells nothing of the installation: name a namespace "
    "whose pods get tokens with --dry-run-namespace."
)


def pod(seen: Installation) -> Finding:
    """Whether a pod comes back as the webhook's own code makes it."""
    probe = there(seen.probe)
    where = f"in namespace {probe.namespace}"
    if probe.problem:
        return _not_created(probe)
    if probe.differences:
        text = f"a pod {where} is not what boundtoken makes of it: {', '.join(probe.differences)}"
        command = f"boundtoken explain -f POD.yaml --from-cluster -n {probe.namespace}"
        return failed(text, command)
    if not probe.is_injected:
        text = f"a pod {where} gets no token of boundtoken, as its policy has it: {probe.reason}"
        return warning(text, cure=NOT_TRIED)
    return passed(f"{where}: {probe.reason}")


def _not_created(probe: Probe) -> Finding:
    where = f"in namespace {probe.namespace}"
    if probe.is_forbidden:
        text = f"needs create on pods {where}, also for a dry run"
        return Finding("unknown", text)
    return Finding("unknown", f"the pod {where} was not created: {probe.problem}{ELSEWHERE}")


def governance(seen: Installation) -> Finding:
    """Whether what the configuration refuses is refused."""
    found = []
    for one in there(seen.governance):
        if one.is_refused:
            continue
        if one.by_webhook:
            text = (
                f"{one.what}: only the webhook refused it, which is away where no replica answers"
            )
            found.append(warning(text, *_LOOK))
            continue
        text = f"{one.what}: {one.problem or 'it was not refused'}"
        found.append(Finding("unknown", text) if one.problem else failed(text, *_LOOK))
    tried = ", ".join(one.what for one in there(seen.governance))
    return worst(*found, text=f"refused: {tried}" if tried else "the configuration demands nothing")


_LOOK = (f"kubectl get validatingadmissionpolicybindings {names.TOKEN_REQUEST_POLICY} -o yaml",)


def year(seen: Installation) -> Finding:
    """Whether a token of 3607 seconds lives for a year, as boundtoken counts."""
    seconds = there(seen.year)
    if seconds >= names.YEAR_SECONDS:
        return passed(f"{seconds} s: one year")
    text = f"it lives {seconds} s here, and boundtoken counts it as one year"
    return warning(f"{text}: the API server has --service-account-extend-token-expiration=false")


def checks(*, with_token: bool) -> Iterator[Check[Installation]]:
    yield Check(
        "dry-run-pod",
        GROUP,
        "a pod is injected",
        "The checks above show why: what fails there keeps the API server from boundtoken.",
        pod,
    )
    yield Check(
        "token-governance",
        GROUP,
        "token requests are refused as configured",
        "Make sure that the policies, their bindings and the settings on them exist.",
        governance,
    )
    if with_token:
        yield Check(
            "token-year",
            GROUP,
            "a token of 3607 seconds lives for a year",
            "Nothing is wrong: allow 3607 seconds by the level's maximum where you need it.",
            year,
        )
