"""`boundtoken scan` in the process of a test, and reports to compare."""

from typing import Any

import msgspec

from tests.support.in_process import run_here
from webhook.cli.scan import command
from webhook.scanning.report import Finding, Mount, Namespace, Report, Token


def run_scan(*words: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    return run_here(command, "scan", *words, stdin=stdin)


MOUNT = Mount("app", "/var/run/secrets/kubernetes.io/serviceaccount")
A_TOKEN = Token(
    namespace="shop",
    object="pod/cart-1",
    owner="deployment/cart",
    service_account="cart",
    source="automounted",
    audience="",
    requested_seconds=3607,
    lifetime_seconds=31_536_000,
    lifetime="1 year",
    rotated=True,
    level="none",
    volume="kube-api-access-*",
    secret="",
    file="token",
    mounts=(MOUNT,),
)
A_SPACE = Namespace("shop", "disabled", "enabled", "none", "none", "", True, "", 1, 1, 1, ())
A_FINDING = Finding(
    "year-long", "error", "shop", "deployment/cart", "a year", "kubectl x", "cart.yaml:3"
)


def a_report(**changed: Any) -> Report:
    """A report with one token and one finding."""
    made = Report(
        time="2026-11-29T10:00:00Z",
        context="test",
        namespaces=(A_SPACE,),
        tokens=(A_TOKEN,),
        findings=(A_FINDING,),
    )
    return msgspec.structs.replace(made, **changed)
