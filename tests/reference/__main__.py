"""`make reference`: writes the tables of docs/ whose text is in the code, between their marks."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import yaml

from tests.support.paths import ROOT
from webhook import annotation_descriptions, cluster_config, metrics, options
from webhook.cli.main import parser
from webhook.config_descriptions import DESCRIPTIONS
from webhook.core import decision, levels, limits, names, policy
from webhook.enforcement import rules

IN_A_POD = {"listen": "0.0.0.0:10250", "plain-listen": "0.0.0.0:8080"}
"""Defaults that differ with --standalone."""
NAME = re.compile(
    r"(?<![\w`/.])(--[a-z-]+(?: on)?|/[a-z]+z|/metrics|/var/run/[\w./-]+|boundtoken_\w+"
    r"|(?:inject|automount\w*): \w+)"
)
PAGES = ("docs/reference.md", "docs/configuration.md")
MARK = re.compile(
    r"(<!-- make reference: (\w+) -->\n)(.*?)(<!-- end of \2 -->\n)", re.MULTILINE | re.DOTALL
)


def metric_rows() -> Iterator[str]:
    """Every metric of ours: its labels, and its help text."""
    yield "| metric | labels | meaning |\n|---|---|---|"
    declared = [
        one for one in vars(metrics).values() if getattr(one, "_name", "").startswith("boundtoken_")
    ]
    for metric in declared:
        (family,) = metric.describe() if hasattr(metric, "describe") else metric.collect()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", ())) or "none"
        kind = " Histogram." if family.type == "histogram" else ""
        yield f"| `{name}` | {labels} | {_code(family.documentation)}{kind} |"


def flag_rows() -> Iterator[str]:
    """Every flag of `serve` that a variable sets too."""
    yield "| flag | variable | default | meaning |\n|---|---|---|---|"
    for option in options.OPTIONS:
        default = option.default or IN_A_POD.get(option.name)
        meaning = option.help
        if default:
            meaning = re.sub(r" \(default[^)]*\)", "", meaning)
        shown = f"`{default}`" if default else "none"
        yield f"| `--{option.name}` | `{option.variable}` | {shown} | {_code(meaning)} |"


def rule_rows() -> Iterator[str]:
    """Every rule of enforcement, by its record."""
    yield "| rule | level | since | restricted fields | allowed values |\n|---|---|---|---|---|"
    for rule in rules.RULES:
        fields = "<br>".join(f"`{field}`" for field in rule.fields)
        allowed = "; ".join(rule.allowed)
        yield f"| `{rule.slug}` | `{rule.level}` | {rule.since} | {fields} | {allowed} |"


def key_rows() -> Iterator[str]:
    """Every key of the configuration, by the JSON Schema; the defaults are those of the ConfigMap
    in the manifests.
    """
    manifest = yaml.safe_load((ROOT / "manifests/35-configmap.yaml").read_text())
    defaults = yaml.safe_load(manifest["data"]["config.yaml"])
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for key, schema in cluster_config.schema()["properties"].items():
        inner = schema.get("properties")
        for name, one in inner.items() if inner else [("", schema)]:
            path = f"{key}.{name}" if name else key
            if path in DESCRIPTIONS:
                default = defaults[key][name] if name else defaults[key]
                yield f"| `{path}` | {_values(one)} | `{_json(default)}` | {one['description']} |"


def annotation_rows(annotations: Iterable[str]) -> Iterator[str]:
    """These annotations of users, in the order of their descriptions."""
    yield "| annotation | value | default | meaning |\n|---|---|---|---|"
    for name, (value, meaning) in annotation_descriptions.DESCRIPTIONS.items():
        if name in annotations:
            values = value if isinstance(value, str) else ", ".join(f"`{one}`" for one in value)
            yield f"| `{name}` | {values} | {_default(name)} | {_sentence(meaning)} |"


def _default(name: str) -> str:
    """What holds where an annotation is nowhere."""
    is_allowed = limits.Locks().pod_overrides
    found: dict[str, Any] = {
        **{name: getattr(policy.TokenPolicy(), field) for field, name, _ in policy.SETTINGS},
        **dict.fromkeys(levels.LEVEL_OF.values(), levels.LevelVersion().level),
        **dict.fromkeys(levels.VERSION_OF.values(), "latest"),
        names.POD_OVERRIDES: "allowed" if is_allowed else "denied",
    }
    default = found.get(name, ())
    shown = {True: "`enabled`", False: "`disabled`", (): "none", "": "the API server's own"}
    return shown.get(default, str(default) if isinstance(default, int) else f"`{default}`")


def reason_rows() -> Iterator[str]:
    """Every reason of a review."""
    yield "| reason | meaning |\n|---|---|"
    for reason, meaning in decision.MEANINGS.items():
        text = _sentence(meaning).replace("the self-probe", "the [self-probe](#self-probe)")
        yield f"| `{reason}` | {text} |"


def command_rows() -> Iterator[str]:
    """Every command, its flags but those that a process takes from variables too, and its help."""
    yield "| command | flags of its own | what it does |\n|---|---|---|"
    for name, flags, what in _commands(parser()):
        configured = {f"--{option.name}" for option in options.OPTIONS} & set(flags)
        own = [f"`{flag}`" for flag in flags if name != SERVE or flag not in configured]
        more = ["and those of [Configuration](#configuration)"] if name == SERVE else []
        chapter = CHAPTERS.get(name)
        link = f": [more](#{chapter})" if chapter else ""
        yield f"| `{name}` | {', '.join([*own, *more]) or 'none'} | {_code(what)}{link} |"


def _commands(
    command: argparse.ArgumentParser, what: str = ""
) -> Iterator[tuple[str, list[str], str]]:
    """Each command that does something: its name, its long flags, its help."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                yield from _commands(action.choices[listed.dest], str(listed.help))
            return
    flags = [flag for action in command._actions for flag in action.option_strings]
    yield command.prog, [flag for flag in flags if flag.startswith("--") and flag != "--help"], what


SERVE = "boundtoken serve"
CHAPTERS = {
    "boundtoken check": "whether-it-works",
    "boundtoken explain": "what-a-pod-gets-and-why",
    "boundtoken inject": "manifests",
    "boundtoken uninject": "manifests",
    "boundtoken diff": "manifests",
    "boundtoken scan": "where-a-cluster-stands",
    "boundtoken token audit-policy": "audit-logs",
    "boundtoken token trace": "audit-logs",
    "boundtoken token watch": "unusual-requests",
    "boundtoken completion": "completion-and-kubectl",
    "boundtoken version": "versions",
    "boundtoken help": "help",
}
"""Where the page tells more of a command; one chapter is about all of `boundtoken token`."""
TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "pod_annotations": lambda: annotation_rows(names.FOR_PODS),
    "namespace_annotations": lambda: annotation_rows(names.FOR_NAMESPACES - names.FOR_PODS),
    "rules": rule_rows,
    "reasons": reason_rows,
    "commands": command_rows,
    "flags": flag_rows,
    "metrics": metric_rows,
    "keys": key_rows,
}


def _code(text: str) -> str:
    """A help text with names as code."""
    return NAME.sub(r"`\1`", text)


def _sentence(phrase: str) -> str:
    """A phrase with a capital letter and a full stop, names as code."""
    text = _code(phrase)
    return f"{text[0].upper()}{text[1:]}."


def _json(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).split("\n...")[0].strip()


def _values(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    first = {"integer": "seconds", "array": "list of strings", "string": "text"}[kinds[0]]
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = f", {low} to {high}" if high else f", {low} or more" if low else ""
    longest = f", at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    other = f", not {schema['not']['const']}" if "not" in schema else ""
    return first + limits + longest + other + (", or `null`" if "null" in kinds else "")


def written(text: str) -> str:
    """A page with its tables as the code has them. Raises: KeyError, for a mark of no table"""
    return MARK.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + "\n" + found[4], text)


def main() -> None:
    """Write them."""
    for page in PAGES:
        path = ROOT / page
        path.write_text(written(path.read_text()))


if __name__ == "__main__":
    main()
