"""What the API server's policies share: their variables for annotations and limits, and what the
texts of rules may name.
"""

from ...core import names
from ...core.limits import BAD_MAXIMUM, MAX_ALLOWED_CHARS
from .. import cel

Variable = tuple[str, str, str]
"""Name, comment, expression."""

USERNAME = "request.userInfo.?username.orValue('')"
TEXTS = {
    "maximum": "string(variables.maximum)",
    "advised": "string(variables.advised)",
    "allowed": "(variables.allowedText == '' ? '' : ', or use one of ' + variables.allowedText)",
}
"""What the texts of rules may name."""
NAMESPACE_AUDIENCES = """
[@value]
  .map(text, text.size() <= @most && text.matches(r'@list') ? text : '')[0]
  .split(',').map(a, a.trim()).filter(a, a != '')
"""
LOCKED_AUDIENCES = """
[@value]
  .map(text, text.matches(r'@list') ? text : '')[0]
  .split(' ').filter(a, a != '')
"""
ALLOWED_AUDIENCES = """
!(@locked) ? variables.namespaceAudiences
  : !(@listed) ? variables.lockedAudiences
  : variables.namespaceAudiences.filter(a, a in variables.lockedAudiences)
"""
ANNOTATIONS: list[Variable] = [
    (
        "bindingAnnotations",
        "The configuration's part, kept by the replicas. The binding is its own parameter.",
        "params.metadata.?annotations.orValue({})",
    ),
    (
        "namespaceAnnotations",
        "What the namespace demands.",
        "namespaceObject.metadata.?annotations.orValue({})",
    ),
]
_MAXIMUM, _AUDIENCES = names.MAX_EXPIRATION_SECONDS, names.ALLOWED_AUDIENCES
_LISTED, _LOCKED = (
    cel.has("namespaceAnnotations", _AUDIENCES),
    cel.has("bindingAnnotations", _AUDIENCES),
)
MEASURES: list[Variable] = [
    (
        "lock",
        "Seconds that the configuration's lock allows.",
        cel.seconds(
            "bindingAnnotations",
            _MAXIMUM,
            missing=f"'{names.MAX_EXPIRATION_SECONDS_LIMIT}'",
            bad=BAD_MAXIMUM,
        ),
    ),
    (
        "namespaceMaximum",
        "Seconds that the namespace has set; 0 where it has not, or not well.",
        cel.seconds("namespaceAnnotations", _MAXIMUM, missing="''", bad=0),
    ),
    (
        "apiAudiences",
        "What the API server calls itself. Where nobody has said so, any audience may be one.",
        cel.spaced(names.API_AUDIENCES),
    ),
    ("anyAudience", "Whether nothing limits audiences.", f"!({_LISTED}) && !({_LOCKED})"),
    (
        "namespaceAudiences",
        "What the namespace allows. A bad list allows nothing but the API server's own.",
        cel.fill(
            NAMESPACE_AUDIENCES,
            value=cel.value("namespaceAnnotations", _AUDIENCES),
            most=names.MAX_AUDIENCE_LIST_CHARS,
            list=cel.AUDIENCE_LIST,
        ),
    ),
    (
        "lockedAudiences",
        "What the configuration's lock allows.",
        cel.fill(
            LOCKED_AUDIENCES,
            value=cel.value("bindingAnnotations", _AUDIENCES),
            list=cel.SPACED_LIST,
        ),
    ),
    (
        "allowedAudiences",
        "Both must allow it.",
        cel.fill(ALLOWED_AUDIENCES, listed=_LISTED, locked=_LOCKED),
    ),
    (
        "allowedNames",
        "The same for people.",
        f"variables.allowedAudiences.map(a, {cel.displayed('a')}).join(', ')",
    ),
    ("allowedText", "And short.", cel.truncate("variables.allowedNames", MAX_ALLOWED_CHARS)),
]


def advised() -> Variable:
    """What to ask for: the maximum, but never 3607."""
    trap, replacement = names.YEAR_TRAP_SECONDS, names.YEAR_TRAP_REPLACEMENT
    return (
        "advised",
        "What to ask for.",
        f"variables.maximum == {trap} ? {replacement} : variables.maximum",
    )
