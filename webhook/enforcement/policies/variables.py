"""The variables that the policies share: annotations and limits, and the values in the texts of
rules.
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
"""CEL for the values in the texts of rules."""
NAMESPACE_AUDIENCES = """
[@value]
  .map(text, text.size() <= @limit && text.matches(r'@list') ? text : '')[0]
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
        "The configuration, written by the replicas. The binding is its own parameter.",
        "params.metadata.?annotations.orValue({})",
    ),
    (
        "namespaceAnnotations",
        "The namespace's own settings.",
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
        "The configuration's maximum in seconds, which no namespace can raise.",
        cel.seconds(
            "bindingAnnotations",
            _MAXIMUM,
            missing=f"'{names.MAX_EXPIRATION_SECONDS_LIMIT}'",
            bad=BAD_MAXIMUM,
        ),
    ),
    (
        "namespaceMaximum",
        "The namespace's maximum in seconds; 0 if it is missing or invalid.",
        cel.seconds("namespaceAnnotations", _MAXIMUM, missing="''", bad=0),
    ),
    (
        "apiAudiences",
        "The API server's own audiences. If the list is empty, any audience may be one.",
        cel.spaced(names.API_AUDIENCES),
    ),
    ("anyAudience", "Whether all audiences are allowed.", f"!({_LISTED}) && !({_LOCKED})"),
    (
        "namespaceAudiences",
        "The namespace's allowed audiences. An invalid list allows only the API server's own.",
        cel.fill(
            NAMESPACE_AUDIENCES,
            value=cel.value("namespaceAnnotations", _AUDIENCES),
            limit=names.MAX_AUDIENCE_LIST_CHARS,
            list=cel.AUDIENCE_LIST,
        ),
    ),
    (
        "lockedAudiences",
        "The configuration's allowed audiences.",
        cel.fill(
            LOCKED_AUDIENCES,
            value=cel.value("bindingAnnotations", _AUDIENCES),
            list=cel.SPACED_LIST,
        ),
    ),
    (
        "allowedAudiences",
        "The audiences that both allow.",
        cel.fill(ALLOWED_AUDIENCES, listed=_LISTED, locked=_LOCKED),
    ),
    (
        "allowedNames",
        "The same, for messages.",
        f"variables.allowedAudiences.map(a, {cel.displayed('a')}).join(', ')",
    ),
    (
        "allowedText",
        "The same, truncated.",
        cel.truncate("variables.allowedNames", MAX_ALLOWED_CHARS),
    ),
]


def advised() -> Variable:
    """Return the variable with the longest lifetime to request: the maximum, but never 3607."""
    trap, replacement = names.YEAR_TRAP_SECONDS, names.YEAR_TRAP_REPLACEMENT
    return (
        "advised",
        "The longest lifetime to request.",
        f"variables.maximum == {trap} ? {replacement} : variables.maximum",
    )
