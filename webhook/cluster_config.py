"""The cluster's configuration file: parses YAML into a `ClusterConfiguration`, or reports every
fault with its path.

One table, FIELDS, defines the keys; the parser, the faults and the JSON Schema use it. Values
follow the same rules as the annotations of the same meaning, because the same functions parse them.
"""

import difflib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from . import documents
from .config_descriptions import DESCRIPTIONS
from .core import limits, names
from .core.annotations import (
    INJECT_VALUES,
    Parser,
    parse_audience,
    parse_inject,
    parse_mount_path,
    parse_overrides,
    parse_switch,
)
from .core.levels import LEVELS
from .core.limits import DEFAULT_MAXIMUM, Locks
from .core.policy import GOVERN_MODES, ClusterPolicy, Exemptions, TokenPolicy
from .core.text import quote
from .documents import shown
from .errors import BadInput

API_VERSION = "boundtoken.dev/v1alpha1"
KIND = "Configuration"
MAX_BYTES = 64 << 10
"""Of the file. Its lists and its text become annotations of one object (`policies.bindings`), for
which Kubernetes allows 256 KiB in all."""
_KEY = re.compile(r"[\w.-]{1,60}", re.ASCII)
_NAMESPACE = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_OBJECT = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
"""Names as the API server allows them (apimachinery/pkg/util/validation): a label, a subdomain."""


class ClusterConfiguration(msgspec.Struct, frozen=True):
    """The parsed file. `hash` identifies its content (8 hex digits; empty without a file), which
    is `text`.
    """

    policy: ClusterPolicy = ClusterPolicy()
    hash: str = ""
    text: str = ""


class Field(NamedTuple):
    """One key: its JSON Schema, the function that parses its value, and the default.

    `read` raises a ValueError that says what the value must be.
    """

    schema: dict[str, Any]
    read: Callable[[Any], Any]
    default: Any


def _text(parse: Parser) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"must be a string{_yaml_trap(value)}")
        return parse(value, Locks())[0]

    return read


def _lifetime(value: Any) -> int:
    low, high = names.MIN_EXPIRATION_SECONDS, names.MAX_EXPIRATION_SECONDS_LIMIT
    if not _is_integer(value) or not low <= value <= high:
        raise ValueError(f"must be an integer number of seconds from {low} to {high}")
    if value == names.YEAR_TRAP_SECONDS:
        raise ValueError(
            f"must not be {value}: the API server would issue tokens valid for one year; use {names.YEAR_TRAP_REPLACEMENT}"
        )
    return int(value)


def _maximum(value: Any) -> int:
    if value is None:
        return names.MAX_EXPIRATION_SECONDS_LIMIT
    if not _is_integer(value) or value < names.MIN_EXPIRATION_SECONDS:
        raise ValueError(
            f"must be null or an integer number of seconds, {names.MIN_EXPIRATION_SECONDS} or more"
        )
    return min(int(value), names.MAX_EXPIRATION_SECONDS_LIMIT)


def _strings(value: Any) -> tuple[str, ...]:
    """Strings without whitespace, because they are separated by blanks in the annotations for the
    API server's policies.
    """
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValueError("must be a list of strings, none of them empty")
    for item in value:
        try:
            parse_audience(item, Locks())
        except ValueError:
            limit = names.MAX_AUDIENCE_CHARS
            raise ValueError(
                f"items must have printable characters, no whitespace, at most {limit}; {quote(item)} does not"
            ) from None
    return tuple(value)


def _audiences(value: Any) -> frozenset[str] | None:
    return None if value is None else frozenset(_strings(value))


def _level(value: Any) -> Any:
    if value not in LEVELS:
        raise ValueError(f"must be {', '.join(LEVELS[:-1])} or {LEVELS[-1]}{_yaml_trap(value)}")
    return value


def _govern(value: Any) -> Any:
    if value not in GOVERN_MODES:
        raise ValueError(f"must be off, warn or enforce{_yaml_trap(value)}")
    return value


def _floor_maximum(value: Any) -> int | None:
    return None if value is None else _maximum(value)


def _names(value: Any) -> frozenset[str]:
    return frozenset(_strings(value))


def _excluded(value: Any) -> tuple[str, ...]:
    return _whole_names(value, "names of namespaces", _NAMESPACE)


def _namespaces(value: Any) -> frozenset[str]:
    return frozenset(_excluded(value))


def _classes(value: Any) -> frozenset[str]:
    return frozenset(_whole_names(value, "names of runtime classes", _OBJECT))


def _accounts(value: Any) -> frozenset[str]:
    return frozenset(_whole_names(value, "namespace/name", f"{_NAMESPACE}/{_OBJECT}"))


def _whole_names(value: Any, what: str, pattern: str) -> tuple[str, ...]:
    """Names that can be: a glob would match nothing, since names are compared as a whole."""
    for name in _strings(value):
        if not re.fullmatch(pattern, name):
            raise ValueError(
                f"must be a list of {what} (in full, as there are no globs), and {quote(name)} is not"
            )
    return _strings(value)


_SWITCH = {"enum": ["enabled", "disabled"]}
_SECONDS = {
    "type": "integer",
    "minimum": names.MIN_EXPIRATION_SECONDS,
    "maximum": names.MAX_EXPIRATION_SECONDS_LIMIT,
}
_SECONDS_OR_NULL = {"type": ["integer", "null"], "minimum": names.MIN_EXPIRATION_SECONDS}
_GOVERN = {"enum": [*GOVERN_MODES]}
_LIST = {"type": "array", "items": {"type": "string", "minLength": 1}}


def _list_of(pattern: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "pattern": f"^{pattern}$"}}


FIELDS: dict[str, dict[str, Field] | Field] = {
    "defaults": {
        "inject": Field({"enum": [*INJECT_VALUES]}, _text(parse_inject), "disabled"),
        "automount": Field(_SWITCH, _text(parse_switch), True),
        "audience": Field(
            {"type": "string", "maxLength": names.MAX_AUDIENCE_CHARS}, _text(parse_audience), ""
        ),
        "expirationSeconds": Field(
            {**_SECONDS, "not": {"const": names.YEAR_TRAP_SECONDS}},
            _lifetime,
            names.DEFAULT_EXPIRATION_SECONDS,
        ),
        "mountPath": Field(
            {"type": "string", "pattern": "^/[^:]+$"}, _text(parse_mount_path), names.DEFAULT_PATH
        ),
    },
    "locks": {
        "maxExpirationSeconds": Field(
            _SECONDS_OR_NULL, _maximum, names.MAX_EXPIRATION_SECONDS_LIMIT
        ),
        "allowedAudiences": Field({**_LIST, "type": ["array", "null"]}, _audiences, None),
        "podOverrides": Field({"enum": ["allowed", "denied"]}, _text(parse_overrides), True),
        "enforceFloor": Field({"enum": [*LEVELS]}, _level, "off"),
        "enforceFloorMaxExpirationSeconds": Field(_SECONDS_OR_NULL, _floor_maximum, None),
    },
    "namespaces": {"excluded": Field(_list_of(_NAMESPACE), _excluded, ())},
    "exemptions": {
        "namespaces": Field(_list_of(_NAMESPACE), _namespaces, frozenset()),
        "usernames": Field(_LIST, _names, frozenset()),
        "serviceAccounts": Field(_list_of(f"{_NAMESPACE}/{_OBJECT}"), _accounts, frozenset()),
        "runtimeClasses": Field(_list_of(_OBJECT), _classes, frozenset()),
    },
    "tokenRequests": {
        "mode": Field(_GOVERN, _govern, "off"),
        "maxExpirationSeconds": Field(_SECONDS, _lifetime, DEFAULT_MAXIMUM["bound"]),
    },
    "legacySecrets": {"mode": Field(_GOVERN, _govern, "off")},
    "apiAudiences": Field(_LIST, _strings, ()),
}


def parse(
    text: str | bytes, *, own_namespace: str = names.NAMESPACE, api_audiences: tuple[str, ...] = ()
) -> ClusterConfiguration:
    """The configuration in this YAML text. `api_audiences` are added to those that the file names.

    Raises: BadInput, with every fault and its path
    """
    content = text.encode() if isinstance(text, str) else text
    document = _load(content)
    faults = list(_head_faults(document))
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")}
    read = _read(body, FIELDS, "", faults)
    defaults, locks = read["defaults"], read["locks"]
    if not faults and not _allowed(defaults["audience"], locks["allowedAudiences"]):
        faults.append(
            f"defaults.audience: must be one of locks.allowedAudiences, and {quote(defaults['audience'])} is not"
        )
    if faults:
        raise documents.refusal(faults)
    policy = _policy(read, own_namespace, api_audiences)
    if conflicts := list(_conflicts(policy)):
        raise documents.refusal(conflicts)
    return ClusterConfiguration(policy, hashlib.sha256(content).hexdigest()[:8], content.decode())


def _policy(
    read: dict[str, Any], own_namespace: str, api_audiences: tuple[str, ...]
) -> ClusterPolicy:
    defaults, locks, exemptions = read["defaults"], read["locks"], read["exemptions"]
    return ClusterPolicy(
        TokenPolicy(
            inject=defaults["inject"],
            automount=defaults["automount"],
            audience=defaults["audience"],
            expiration_seconds=defaults["expirationSeconds"],
            mount_path=defaults["mountPath"],
        ),
        Locks(
            max_expiration_seconds=locks["maxExpirationSeconds"],
            allowed_audiences=locks["allowedAudiences"],
            pod_overrides=locks["podOverrides"],
        ),
        excluded=names.NEVER_TOUCHED | frozenset(read["namespaces"]["excluded"]),
        own_namespace=own_namespace,
        api_audiences=tuple(dict.fromkeys((*read["apiAudiences"], *api_audiences))),
        enforce_floor=locks["enforceFloor"],
        enforce_floor_max_expiration_seconds=locks["enforceFloorMaxExpirationSeconds"],
        exemptions=Exemptions(
            namespaces=exemptions["namespaces"],
            usernames=exemptions["usernames"],
            service_accounts=exemptions["serviceAccounts"],
            runtime_classes=exemptions["runtimeClasses"],
        ),
        token_requests=read["tokenRequests"]["mode"],
        token_requests_max_expiration_seconds=read["tokenRequests"]["maxExpirationSeconds"],
        legacy_secrets=read["legacySecrets"]["mode"],
    )


def _conflicts(policy: ClusterPolicy) -> Iterator[str]:
    """Faults of keys in combination."""
    injected, floor = policy.locks.capped(policy.defaults.expiration_seconds), policy.enforce_floor
    if floor != "off":
        own, lock = policy.enforce_floor_max_expiration_seconds, policy.locks.max_expiration_seconds
        maximum = limits.floor_maximum(floor, lock, None, own)
        if injected > maximum:
            yield (
                f"defaults.expirationSeconds: must be at most {maximum}, the maximum of locks.enforceFloor, or every injected "
                f"pod would be refused; it is {injected}"
            )


def warnings(policy: ClusterPolicy) -> Iterator[str]:
    """What is valid and has no effect. The shipped default is no such value, because manifests and
    chart write it beside every lock.
    """
    default, lock = policy.defaults.expiration_seconds, policy.locks.max_expiration_seconds
    if default > lock and default != names.DEFAULT_EXPIRATION_SECONDS:
        yield (
            f"defaults.expirationSeconds: {default} has no effect, because locks.maxExpirationSeconds is {lock}: "
            f"tokens live {policy.locks.capped(default)} s"
        )


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the file."""
    head = {"apiVersion": {"const": API_VERSION}, "kind": {"const": KIND}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "boundtoken Configuration",
        **_object_schema(FIELDS, head),
        "required": ["apiVersion", "kind"],
    }


def _load(content: bytes) -> dict[str, Any]:
    loaded = documents.load(content, MAX_BYTES)
    if len(loaded) != 1 or not isinstance(loaded[0], dict):
        raise BadInput(f"must be a mapping with apiVersion: {API_VERSION} and kind: {KIND}")
    return loaded[0]


def _head_faults(document: Mapping[str, Any]) -> Iterator[str]:
    for key, must in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(key) != must:
            yield f"{key}: must be {must}, and is {shown(document[key]) if key in document else 'missing'}"


def _read(value: Any, fields: Mapping[str, Any], where: str, faults: list[str]) -> dict[str, Any]:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        faults.append(f"{where.rstrip('.')}: must be a mapping of {', '.join(fields)}")
        value = {}
    for key in value:
        if key not in fields:
            # Further faults are only counted, so a search for similar keys would be wasted.
            is_shown = len(faults) < documents.MAX_FAULTS
            similar = difflib.get_close_matches(key[:100], list(fields), n=1) if is_shown else []
            hint = f"did you mean {similar[0]}?" if similar else f"known are {', '.join(fields)}"
            faults.append(f"{where}{_named(key)}: unknown field; {hint}")
    read: dict[str, Any] = {}
    for key, field in fields.items():
        if not isinstance(field, Field):
            read[key] = _read(value.get(key), field, f"{where}{key}.", faults)
            continue
        read[key] = field.default
        if key in value:
            try:
                read[key] = field.read(value[key])
            except ValueError as problem:
                faults.append(f"{where}{key}: {problem}; it is {shown(value[key])}")
    return read


def _object_schema(
    fields: Mapping[str, Any], head: Mapping[str, Any], where: str = ""
) -> dict[str, Any]:
    properties = {
        key: {
            "description": DESCRIPTIONS[where + key],
            **(
                field.schema
                if isinstance(field, Field)
                else _object_schema(field, {}, f"{where}{key}.")
            ),
        }
        for key, field in fields.items()
    }
    return {"type": "object", "additionalProperties": False, "properties": {**head, **properties}}


def _allowed(audience: str, allowed: frozenset[str] | None) -> bool:
    return Locks(allowed_audiences=allowed).allows(audience)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _yaml_trap(value: Any) -> str:
    return (
        " (YAML reads an unquoted on, off, yes or no as true or false: quote it)"
        if isinstance(value, bool)
        else ""
    )


def _named(key: str) -> str:
    return key if _KEY.fullmatch(key) else quote(key)
