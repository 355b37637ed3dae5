"""Reports of a scan, as `boundtoken scan -o json` prints them: every state that a part of one may
have, as many tokens as a test needs, and one whose every text is hostile.
"""

from collections.abc import Sequence
from typing import Any

from webhook.core import names

Report = dict[str, Any]
YEAR = names.YEAR_SECONDS
SOURCES: Sequence[tuple[str, int | None, int | None, str, bool, str]] = (
    ("automounted", 3607, YEAR, "1 year", True, "none"),
    ("boundtoken", 3600, 3600, "1 h", True, "strict"),
    ("projected", 7200, 7200, "2 h", True, "bound"),
    ("projected", 604_800, 604_800, "7 d", False, "none"),
    ("legacy-secret", None, None, "never", False, "none"),
    ("csi", 600, 600, "10 min", True, "strict"),
    ("csi", None, None, "unknown", True, "none"),
)
"""Source, requested and effective seconds, life for people, rotation, level."""
NAMESPACES = (
    "shop",
    "payments",
    "search",
    "kube-system",
    "monitoring",
    "ci",
    "web",
    "data-platform",
    "ingress",
    "identity",
)
INJECTS = ("enabled", "disabled", "replace")
ENFORCED = ("", "bound", "strict")
HOSTILE = (
    "</script><script>window.broken=1</script>",
    "<!--<script>",
    "<img src=x onerror='window.broken=1'>",
    "\u2028window.broken=1\u2029",
    '" autofocus onfocus="window.broken=1',
    "javascript:window.broken=1",
    "\u202etxt.exe\u0000\u001b[31m",
    "\ud800 half of a pair",
    "${policy} $style {{7*7}} &lt;b&gt; ]]>",
    "=HYPERLINK(1)",
    "x" * 70_000,
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl",
)
"""What anybody may write where a name or an annotation belongs, and more."""


def sample(tokens: int = 60, *, complete: bool = True, namespaces: int = 24) -> Report:
    """A report with every state of its form, once there are 50 tokens or more."""
    spaces = [_name(number) for number in range(namespaces)]
    made = [
        # More in the first namespaces than in the last ones, as it is in clusters.
        _token(number, min(number * 7 % namespaces, number * 11 // 3 % namespaces))
        for number in range(tokens)
    ]
    return {
        "kind": "Scan",
        "version": 1,
        "time": "2026-11-29T10:00:00Z",
        "context": "production-eu-1",
        "complete": complete,
        "namespaces": [_namespace(number, name, made) for number, name in enumerate(spaces)],
        "tokens": made,
        "findings": [_finding(token) for token in made if token["level"] != "strict"],
        "secrets": _secrets(),
        "serviceAccounts": _accounts(),
        "minters": _minters(),
        "unread": [] if complete else [{"what": "secrets", "why": "needs list on secrets"}],
    }


def empty() -> Report:
    """Of a cluster in which nothing was seen, or of no files."""
    nothing: dict[str, list[Any]] = {
        name: []
        for name in (
            "namespaces",
            "tokens",
            "findings",
            "secrets",
            "serviceAccounts",
            "minters",
            "unread",
        )
    }
    head = {"kind": "Scan", "version": 1, "time": "2026-11-29T10:00:00Z"}
    return {**head, "context": "", "complete": True, **nothing}


def hostile() -> Report:
    """The sample, with a hostile text wherever a report has a text that a browser is shown."""
    report = sample(24, complete=False)
    texts = iter(HOSTILE * 1_000)

    def replaced(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: replaced(part) for name, part in value.items()}
        if isinstance(value, list):
            return [replaced(part) for part in value]
        return next(texts) if isinstance(value, str) else value

    return {**replaced(report), "kind": "Scan"}


def _name(number: int) -> str:
    again = number // len(NAMESPACES)
    return NAMESPACES[number % len(NAMESPACES)] + (f"-{again}" if again else "")


def _token(number: int, place: int) -> dict[str, Any]:
    # A third of the namespaces is done, a third is on the way.
    choice = {0: SOURCES[1:2], 1: SOURCES[1:3]}.get(place % 3, SOURCES)
    source, requested, seconds, lifetime, is_rotated, level = choice[number // 3 % len(choice)]
    app = f"{('cart', 'ledger', 'indexer', 'agent', 'runner')[number % 5]}-{number // 60}"
    is_template = number % 17 == 0
    return {
        "namespace": _name(place),
        "object": f"deployment/{app}" if is_template else f"pod/{app}-7d9f8b6c5-{number:05d}",
        "owner": "" if is_template or number % 13 == 0 else f"deployment/{app}",
        "serviceAccount": app,
        "source": source,
        "audience": "" if source in ("automounted", "legacy-secret") else "https://vault.example",
        "requestedSeconds": requested,
        "lifetimeSeconds": seconds,
        "lifetime": lifetime,
        "rotated": is_rotated,
        "level": level,
        "volume": f"kube-api-access-{number % 97:05d}" if source == "automounted" else "token",
        "mounts": [
            {
                "container": container,
                "path": "/var/run/secrets/kubernetes.io/serviceaccount",
                "readOnly": number % 11 != 0,
                "subPath": number % 19 == 0,
            }
            for container in ("app", "proxy")[: number % 3]
        ],
    }


def _namespace(number: int, name: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    own = [token for token in tokens if token["namespace"] == name]
    levels = ("none", "bound", "strict")
    is_covered = name != "kube-system" and number % 5 != 4
    return {
        "name": name,
        "inject": INJECTS[number % 3],
        "level": min((token["level"] for token in own), key=levels.index, default="strict"),
        "enforce": ENFORCED[number // 2 % 3],
        "covered": is_covered,
        "why": "" if is_covered else "excluded by the webhook's namespaceSelector",
        "pods": len(own),
        "tokens": len(own),
        "yearLong": sum(1 for token in own if (token["lifetimeSeconds"] or 0) >= YEAR),
        "faults": ['boundtoken.dev/inject: "yes" must be enabled, disabled or replace']
        if number % 9 == 5
        else [],
    }


def _finding(token: dict[str, Any]) -> dict[str, Any]:
    owner = token["owner"] or token["object"]
    if token["source"] == "legacy-secret":
        code, severity = "legacy", "error"
        message = "It mounts a Secret whose token never expires and is never rotated."
        fix = ""
    elif (token["lifetimeSeconds"] or 0) >= YEAR:
        code, severity = "year-long", "error"
        message = "Its token lives for 1 year, because 3607 s are requested of the API server."
        fix = f"kubectl annotate -n {token['namespace']} {owner} boundtoken.dev/inject=enabled"
    elif token["level"] == "bound":
        code, severity = "strict", "note"
        message = "Its token reaches bound, not strict: it lives for more than an hour."
        fix = f"kubectl annotate -n {token['namespace']} {owner} boundtoken.dev/expiration-seconds=3600"
    else:
        code, severity = "stale", "warning"
        message = "The pod was created before the policy of its namespace changed."
        fix = f"kubectl rollout restart -n {token['namespace']} {owner}"
    return {
        "code": code,
        "severity": severity,
        "namespace": token["namespace"],
        "object": owner,
        "message": message,
        "fix": fix,
    }


def _secrets() -> list[dict[str, Any]]:
    return [
        {
            "namespace": "ci",
            "name": "deployer-token",
            "serviceAccount": "deployer",
            "lastUsed": "2026-11-28",
            "mountedBy": ["deployment/runner-0", "cronjob/nightly"],
        },
        {
            "namespace": "shop",
            "name": "old-token",
            "serviceAccount": "cart-0",
            "lastUsed": "",
            "mountedBy": [],
        },
    ]


def _accounts() -> list[dict[str, Any]]:
    return [
        {
            "namespace": "ci",
            "name": "deployer",
            "usedBy": 0,
            "secrets": ["deployer-token"],
            "automount": True,
        },
        {"namespace": "web", "name": "default", "usedBy": 4, "secrets": [], "automount": False},
    ]


def _minters() -> list[dict[str, Any]]:
    return [
        {
            "namespace": "*",
            "subject": "Group system:masters",
            "can": ["create serviceaccounts/token", "create pods", "get secrets"],
            "by": "ClusterRoleBinding cluster-admin",
        },
        {
            "namespace": "shop",
            "subject": "ServiceAccount ci/deployer",
            "can": ["create pods"],
            "by": "RoleBinding shop/deploy",
        },
        {
            "namespace": "payments",
            "subject": "User audit@example.org",
            "can": ["get secrets"],
            "by": "RoleBinding payments/audit",
        },
    ]
