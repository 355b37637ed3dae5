"""values.schema.json: the schema of the configuration as the program has it, its flags, and what
the other values may be.
"""

from typing import Any, get_args

import yaml

from tests.chart.values import camel_case, flags, values
from tests.support.paths import ROOT
from tests.support.prometheus import rules
from webhook import cluster_config, options
from webhook.log import LogLevel

Json = dict[str, Any]
TEXT: Json = {"type": "string"}
WORD: Json = {"type": "string", "minLength": 1}
BOOLEAN: Json = {"type": "boolean"}
MAPPING: Json = {"type": "object"}
"""Of Kubernetes: the API server says what is wrong in it."""
_NAME = "([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]"
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
LABELS: Json = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": f"^({_NAME})?$"},
}
"""Values as the API server takes them (apimachinery/pkg/util/validation). A template refuses keys,
since Helm gives wrong places for `propertyNames`.
"""
PROMETHEUS_TEXTS: Json = {
    "type": "object",
    "patternProperties": {"^_?[a-zA-Z][a-zA-Z0-9_]*$": {"type": "string"}},
    "additionalProperties": False,
}
"""By names that Prometheus takes and does not keep for itself."""
OBJECTS: Json = {"type": "array", "items": {"type": "object"}}
PORT: Json = {"type": "integer", "minimum": 1, "maximum": options.MAX_PORT}
ADDRESS: Json = {"type": "string", "pattern": r"^[\[\]0-9A-Fa-f:.]*$"}
COUNT: Json = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
NO_COUNT: Json = {**COUNT, "type": ["integer", "null"]}
NO_COUNT_OR_PERCENTAGE: Json = {
    **COUNT,
    "type": ["integer", "string", "null"],
    "pattern": "^(100|[0-9]{1,2})%$",
}
MAX_MIN_READY_SECONDS = 599
"""Less than progressDeadlineSeconds, which the chart leaves at its default of 600."""
MAX_GRACE_SECONDS = 2**53
"""The API server takes 2^63 - 1; in Helm a number of JSON is exact up to here."""
QUANTITIES: Json = {
    "type": ["object", "null"],
    "additionalProperties": {
        "type": ["string", "number", "null"],
        "minimum": 0,
        "pattern": r"^[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?$",
    },
}
DURATION = "([1-9][0-9]{0,8}(ms|s)|[1-9][0-9]{0,6}m|[1-9][0-9]{0,4}h)"
"""More than nothing, and less than the 292 years at which Prometheus' durations end."""
NETWORKS: Json = {
    "type": "array",
    "items": {"type": "string", "pattern": "^[0-9A-Fa-f.:]+/[0-9]+$"},
}
SUBDOMAIN: Json = {"type": "string", "maxLength": 253, "pattern": f"^{_DOMAIN}$"}
NO_SUBDOMAIN: Json = {**SUBDOMAIN, "pattern": f"^({_DOMAIN})?$"}
_HOST = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_COMPONENT = "[a-z0-9]+(([.]|_{1,2}|-+)[a-z0-9]+)*"
REPOSITORY: Json = {
    "type": "string",
    "maxLength": 255,
    "pattern": rf"^(({_HOST}([.]{_HOST})*|\[[0-9A-Fa-f:]+\])(:[0-9]+)?/)?{_COMPONENT}(/{_COMPONENT})*$",
}
"""By the grammar of github.com/distribution/reference."""
ALERTS = list(dict.fromkeys(str(rule["alert"]) for rule in rules()))
NAMESPACE: Json = {"type": "string", "pattern": f"^({_LABEL})?$"}


def schema() -> Json:
    """The JSON Schema (draft 7, which every Helm reads) of values.yaml."""
    properties = {**_VALUES, "config": _configuration(), "options": _flags()}
    text = (ROOT / "manifests/chart/values.yaml").read_text()
    there = yaml.safe_load(text)
    if list(there) != [name for name in there if name in properties] or properties.keys() - there:
        raise ValueError(f"values.yaml and the schema differ: {properties.keys() ^ there.keys()}")
    whole = _closed({name: properties[name] for name in there})
    for value in values(text):
        whole = _described(whole, value.path.split("."), value.comment)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart boundtoken",
        **whole,
        "properties": {**whole["properties"], "global": MAPPING, "enabled": BOOLEAN},
        "required": [name for name in whole["required"] if name not in ("config", "options")],
    }


def _described(part: Json, path: list[str], comment: str) -> Json:
    """With the comment of values.yaml, which editors show."""
    if not path:
        return {"description": comment, **part}
    first, *rest = path
    properties = part["properties"]
    return {
        **part,
        "properties": {**properties, first: _described(properties[first], rest, comment)},
    }


def _closed(properties: Json) -> Json:
    """Nothing else, and nothing less where a template needs it: `null` takes a default away."""
    needed = [name for name, part in properties.items() if _is_needed(part)]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": needed,
        "properties": properties,
    }


def _is_needed(part: Json) -> bool:
    """Whether a template reads it without looking whether it is there."""
    if part.get("type") == "object":
        return "properties" in part
    return (part.get("type") != "array" or "minItems" in part) and "null" not in part.get(
        "type", ()
    )


def _open(properties: Json) -> Json:
    """Nothing else, and each may be left out."""
    return {**_closed(properties), "required": []}


def _named(properties: Json) -> Json:
    """A list of objects of Kubernetes that must have these, and may have more."""
    return {
        "type": "array",
        "items": {"type": "object", "required": [*properties], "properties": properties},
    }


def _configuration() -> Json:
    """Of `boundtoken config schema`. What a file must begin with may be left out here."""
    whole = cluster_config.schema()
    return _nullable(
        _plain({key: whole[key] for key in ("type", "additionalProperties", "properties")})
    )


def _plain(schema: Json) -> Json:
    """Without what Helm would tell as `'not' failed`: a template refuses that in words."""
    return {
        key: _plain(value) if isinstance(value, dict) else value
        for key, value in schema.items()
        if key != "not"
    }


def _nullable(schema: Json) -> Json:
    """A section may be null, as in the file, which takes the defaults then."""
    sections = {
        key: {**value, "type": ["object", "null"]} if value.get("type") == "object" else value
        for key, value in schema["properties"].items()
    }
    return {**schema, "properties": sections}


def _flags() -> Json:
    return _open(
        {
            camel_case(option.name): {"description": option.help, **_or_null(_flag(option))}
            for option in flags()
        }
    )


def _or_null(flag: Json) -> Json:
    """Null is the program's own default."""
    if "enum" in flag:
        return {**flag, "enum": [*flag["enum"], None]}
    if "anyOf" in flag:
        return {**flag, "anyOf": [*flag["anyOf"], {"type": "null"}]}
    types = flag["type"]
    return {**flag, "type": [*([types] if isinstance(types, str) else types), "null"]}


def _flag(option: options.Option) -> Json:
    if option.metavar == "on|off":
        return {"enum": [True, False, "on", "off"]}
    if option.metavar == "|".join(get_args(LogLevel)):
        return {"enum": [*get_args(LogLevel)]}
    if option.metavar == "DURATION":
        return {"type": "string", "pattern": "^[1-9][0-9]{0,5}[smhd]$"}
    if option.name == "self-probe-interval":
        number = {"type": "number", "minimum": 1, "maximum": 3600}
        return {
            "anyOf": [
                {"enum": [0, "0"]},
                number,
                {"pattern": "^[1-9][0-9]*([.][0-9]+)?$", "type": "string"},
            ]
        }
    if option.metavar == "N":
        decimals = "^[0-9]+([.][0-9]+)?$"  # which --set takes for a string
        return {"type": ["number", "string"], "minimum": 0, "maximum": 3600, "pattern": decimals}
    return {"type": ["string", "number"]}


_VALUES: Json = {
    "image": _closed(
        {
            "repository": REPOSITORY,
            "tag": {"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"},
            "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
            "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
        }
    ),
    "imagePullSecrets": {
        "type": "array",
        "items": _closed({"name": SUBDOMAIN}),
        "uniqueItems": True,
    },
    "extraArgs": {"type": "array", "items": TEXT},
    "env": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "pattern": "^[ -<>-~]+$"},
                "value": {"type": ["string", "null"]},
            },
        },
    },
    "certificates": _closed(
        {
            "mode": {"enum": ["self-managed", "cert-manager", "secret"]},
            "secretName": SUBDOMAIN,
            "issuerRef": {
                **_open({"name": WORD, "kind": WORD, "group": WORD}),
                "dependencies": {"kind": ["name"], "group": ["name"]},
            },
            "webhookAnnotations": TEXTS,
        }
    ),
    "legacyTokens": _closed({"enabled": BOOLEAN, "failClosed": BOOLEAN}),
    "networkPolicy": _closed(
        {
            "enabled": BOOLEAN,
            "controlPlane": NETWORKS,
            "metricsFrom": OBJECTS,
            "apiServer": _closed(
                {"ports": {"type": "array", "items": PORT, "minItems": 1}, "networks": NETWORKS}
            ),
            "dns": BOOLEAN,
        }
    ),
    "monitoring": _closed(
        {
            "interval": {"type": "string", "pattern": f"^{DURATION}$"},
            "scrapeTimeout": {"type": "string", "pattern": f"^{DURATION}?$"},
            "labels": LABELS,
            "podMonitor": _closed({"enabled": BOOLEAN}),
            "serviceMonitor": _closed({"enabled": BOOLEAN}),
            "prometheusRule": _closed(
                {
                    "enabled": BOOLEAN,
                    "disabled": {"type": "array", "items": {"enum": ALERTS}},
                    "additionalLabels": PROMETHEUS_TEXTS,
                    "additionalAnnotations": PROMETHEUS_TEXTS,
                    "runbooks": {"type": "string", "pattern": r"^https?://\S*ALERT\S*$"},
                }
            ),
            "dashboard": _closed(
                {
                    "enabled": BOOLEAN,
                    "namespace": NAMESPACE,
                    "labels": LABELS,
                    "annotations": TEXTS,
                }
            ),
        }
    ),
    "replicas": NO_COUNT,
    "podDisruptionBudget": _closed(
        {
            "enabled": BOOLEAN,
            "maxUnavailable": NO_COUNT_OR_PERCENTAGE,
            "minAvailable": NO_COUNT_OR_PERCENTAGE,
        }
    ),
    "strategy": {
        "type": "object",
        "properties": {
            "type": {"enum": ["RollingUpdate", "Recreate"]},
            "rollingUpdate": {
                "type": ["object", "null"],
                "properties": {
                    "maxUnavailable": NO_COUNT_OR_PERCENTAGE,
                    "maxSurge": {**NO_COUNT_OR_PERCENTAGE, "pattern": "^[0-9]+%$"},
                },
            },
        },
    },
    "revisionHistoryLimit": NO_COUNT,
    "minReadySeconds": {**COUNT, "maximum": MAX_MIN_READY_SECONDS},
    "terminationGracePeriodSeconds": {**COUNT, "maximum": MAX_GRACE_SECONDS},
    "resources": {
        "type": "object",
        "properties": {"requests": QUANTITIES, "limits": QUANTITIES},
    },
    "priorityClass": _closed(
        {
            "name": NO_SUBDOMAIN,
            "create": BOOLEAN,
            "value": {"type": "integer", "minimum": -(2**31), "maximum": 10**9},
        }
    ),
    "flowSchema": _closed({"enabled": BOOLEAN}),
    "topologySpreadConstraints": OBJECTS,
    "nodeSelector": LABELS,
    "tolerations": OBJECTS,
    "affinity": MAPPING,
    "schedulerName": TEXT,
    "runtimeClassName": NO_SUBDOMAIN,
    "hostNetwork": BOOLEAN,
    "dnsPolicy": {"enum": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]},
    "dnsConfig": MAPPING,
    "listen": _closed({"address": ADDRESS, "tlsPort": PORT, "plainPort": PORT}),
    "podSecurityContext": MAPPING,
    "securityContext": MAPPING,
    "startupProbe": MAPPING,
    "livenessProbe": MAPPING,
    "readinessProbe": MAPPING,
    "extraVolumes": _named({"name": {"type": "string", "pattern": f"^{_LABEL}$"}}),
    "extraVolumeMounts": _named({"name": WORD, "mountPath": WORD}),
    "commonLabels": LABELS,
    "deploymentAnnotations": TEXTS,
    "podAnnotations": TEXTS,
    "podLabels": LABELS,
    "test": _closed({"namespace": NAMESPACE}),
}
