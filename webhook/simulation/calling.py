"""Would the API server call a webhook about a request: the rules, selectors and conditions of its
entry, one after the other.

Of `matchConditions` only constants are evaluated, and those that we ship, recognized by their text.
Any other expression is told as it stands and never guessed: the result is then "not known".

Source: apiserver/pkg/admission/plugin/webhook/predicates (rules, namespace, object) and
apiserver/pkg/admission/plugin/webhook/generic/webhook.go. `matchPolicy: Equivalent` finds the same
object in another API version; of what is explained here the supported releases serve one version.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..core import names
from ..core.kinds import WORKLOADS
from ..core.text import truncate
from ..core.views import View

JsonObject = dict[str, Any]
NAME_LABEL = "kubernetes.io/metadata.name"
"""The API server keeps it on each namespace."""
CRON_JOB = "CronJob"
RESOURCES = {
    ("", "Pod"): "pods",
    **{(workload.group, workload.kind): workload.resource for workload in WORKLOADS},
}
MAX_TEXT_CHARS = 600
"""Of a selector or an expression in a sentence."""


class Expression(View, frozen=True):
    """One requirement of a label selector."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Source: apimachinery/pkg/labels/selector.go, Requirement.Matches."""
        match self.operator:
            case "In":
                return labels.get(self.key) in (self.values or ())
            case "NotIn":
                return self.key not in labels or labels[self.key] not in (self.values or ())
            case "Exists":
                return self.key in labels
            case _:
                return self.key not in labels

    def __str__(self) -> str:
        match self.operator:
            case "In" | "NotIn":
                return f"{self.key} {self.operator.lower()} ({','.join(self.values or ())})"
            case "Exists":
                return self.key
            case _:
                return f"!{self.key}"


class Selector(View, frozen=True):
    """A label selector. An empty one matches everything."""

    match_labels: dict[str, str] | None = None
    match_expressions: tuple[Expression, ...] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(
            labels.get(key) == value for key, value in (self.match_labels or {}).items()
        ) and all(expression.matches(labels) for expression in self.match_expressions or ())

    def __str__(self) -> str:
        equal = [f"{key}={value}" for key, value in (self.match_labels or {}).items()]
        return ",".join([*equal, *map(str, self.match_expressions or ())])


class Rule(View, frozen=True):
    api_groups: tuple[str, ...] | None = None
    api_versions: tuple[str, ...] | None = None
    operations: tuple[str, ...] | None = None
    resources: tuple[str, ...] | None = None
    scope: str = "*"

    def matches(self, call: "Call") -> bool:
        return (
            self.scope in ("*", "Namespaced")
            and lists(self.operations, call.operation)
            and lists(self.api_groups, call.group)
            and lists(self.api_versions, call.version)
            and any(_is_resource(pattern, call.resource) for pattern in self.resources or ())
        )


def lists(patterns: tuple[str, ...] | None, value: str) -> bool:
    """Whether a rule's list names this value."""
    return any(pattern in ("*", value) for pattern in patterns or ())


def _is_resource(pattern: str, resource: str) -> bool:
    """Whether a rule's resource is this one, which has no subresource.

    Source: apiserver/pkg/admission/plugin/webhook/predicates/rules/rules.go, Matcher.resource.
    """
    name, _, sub = pattern.partition("/")
    return name in ("*", resource) and sub in ("", "*")


class Condition(View, frozen=True):
    name: str = ""
    expression: str = ""


class Service(View, frozen=True):
    name: str = ""
    namespace: str = ""
    path: str = ""
    port: int = 443


class ClientConfig(View, frozen=True):
    service: Service | None = None
    url: str | None = None
    ca_bundle: str | None = None


class Entry(View, frozen=True):
    """One entry of a webhook configuration; its defaults are those of the API server."""

    name: str = ""
    client_config: ClientConfig = ClientConfig()
    rules: tuple[Rule, ...] | None = None
    namespace_selector: Selector | None = None
    object_selector: Selector | None = None
    match_conditions: tuple[Condition, ...] | None = None
    failure_policy: str = "Fail"
    match_policy: str = "Equivalent"
    side_effects: str = ""
    reinvocation_policy: str = "Never"
    timeout_seconds: int = 10

    @property
    def is_ours(self) -> bool:
        return self.name.endswith(f".{names.DOMAIN.rstrip('/')}")


class ConfigurationMetadata(View, frozen=True):
    name: str = ""
    creation_timestamp: str = ""
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class Configuration(View, frozen=True):
    """A MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""

    metadata: ConfigurationMetadata = ConfigurationMetadata()
    webhooks: tuple[Entry, ...] | None = None


class Call(NamedTuple):
    """A request on an object in a namespace, as far as the API server reads it to choose webhooks.

    `namespace_labels` is None where they are not known. `own_namespace` is where boundtoken is.
    """

    operation: str
    group: str
    version: str
    kind: str
    namespace: str
    namespace_labels: Mapping[str, str] | None
    object: JsonObject
    own_namespace: str = names.NAMESPACE

    @property
    def resource(self) -> str:
        return RESOURCES.get((self.group, self.kind), "")

    @property
    def text(self) -> str:
        return f"{self.operation} {self.resource}"


def call_for(
    document: JsonObject,
    namespace: str,
    namespace_labels: Mapping[str, str] | None,
    *,
    operation: str = "CREATE",
    own_namespace: str = names.NAMESPACE,
) -> Call:
    """The request that creates this object, or writes it again as it is."""
    group, _, version = str(document.get("apiVersion", "")).rpartition("/")
    labels = None if namespace_labels is None else {**namespace_labels, NAME_LABEL: namespace}
    return Call(
        operation,
        group,
        version,
        str(document.get("kind", "")),
        namespace,
        labels,
        document,
        own_namespace,
    )


class Check(NamedTuple):
    """One thing that decides whether a webhook is called. `holds` is None where it is not known."""

    what: str
    holds: bool | None
    text: str


class Calling(NamedTuple):
    """Whether one entry is called about one request, and why."""

    entry: Entry
    configuration: str
    checks: tuple[Check, ...]

    @property
    def called(self) -> bool | None:
        """None where it is not known."""
        results = [check.holds for check in self.checks]
        return False if False in results else None if None in results else True

    @property
    def is_for_the_resource(self) -> bool:
        """Whether a rule matches."""
        return self.checks[0].holds is True


def calling(entry: Entry, configuration: str, call: Call) -> Calling:
    """Whether the API server calls this entry of a configuration."""
    if not any(rule.matches(call) for rule in entry.rules or ()):
        return Calling(entry, configuration, (Check("rule", False, f"none for {call.text}"),))
    return Calling(entry, configuration, (Check("rule", True, call.text), *_rest(entry, call)))


def _rest(entry: Entry, call: Call) -> Iterator[Check]:
    selector = entry.namespace_selector or Selector()
    text = truncate(str(selector), MAX_TEXT_CHARS) or "every namespace"
    labels = call.namespace_labels
    holds = True if not str(selector) else None if labels is None else selector.matches(labels)
    if holds is None and _by_name_only(selector):
        holds = selector.matches({NAME_LABEL: call.namespace})
    yield Check("namespaceSelector", holds, text)
    selector = entry.object_selector or Selector()
    holds = selector.matches(_labels(call.object))
    yield Check("objectSelector", holds, truncate(str(selector), MAX_TEXT_CHARS) or "every object")
    for condition in entry.match_conditions or ():
        yield _evaluated(condition, call)


def _by_name_only(selector: Selector) -> bool:
    """Whether the namespace's name alone decides, so that its labels need not be known."""
    keys = {*(selector.match_labels or {}), *(e.key for e in selector.match_expressions or ())}
    return keys == {NAME_LABEL}


def _labels(document: JsonObject) -> dict[str, str]:
    labels = _mapping(document, "metadata", "labels")
    return {key: str(value) for key, value in labels.items()}


def _mapping(document: Any, *path: str) -> JsonObject:
    """The mapping at a path; an empty one where there is none."""
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _evaluated(condition: Condition, call: Call) -> Check:
    expression = " ".join(condition.expression.split())
    what = f"matchConditions {condition.name}"
    if expression in CONSTANTS:
        return Check(what, CONSTANTS[expression], expression)
    evaluate = CONDITIONS.get(expression)
    if evaluate is None:
        return Check(what, None, f"not evaluated: {truncate(expression, MAX_TEXT_CHARS)}")
    return Check(what, evaluate(call), "")


def _is_no_mirror_pod(call: Call) -> bool:
    return names.MIRROR_POD not in _mapping(call.object, "metadata", "annotations")


def _has_ours(document: JsonObject, *path: str) -> bool:
    return any(
        name.startswith(names.DOMAIN)
        for name in _mapping(document, *path, "metadata", "annotations")
    )


def _carries_ours(call: Call) -> bool:
    template = (
        ("spec", "jobTemplate", "spec", "template")
        if call.kind == CRON_JOB
        else (
            "spec",
            "template",
        )
    )
    recorded = _mapping(call.object, *template, "metadata", "annotations")
    return (
        _has_ours(call.object)
        or names.FROM_WORKLOAD in recorded
        or (call.kind == CRON_JOB and _has_ours(call.object, "spec", "jobTemplate"))
    )


def _has_no_controller(call: Call) -> bool:
    owners = _mapping(call.object, "metadata").get("ownerReferences")
    return not any(
        isinstance(owner, dict) and owner.get("controller") is True
        for owner in (owners if isinstance(owners, list) else ())
    )


def _is_not_ours(call: Call) -> bool:
    return call.namespace != call.own_namespace


CONSTANTS = {"true": True, "false": False}
"""By which people switch an entry off and on."""
NOT_A_MIRROR_POD = (
    "!has(object.metadata.annotations) || "
    "!('kubernetes.io/config.mirror' in object.metadata.annotations)"
)
CARRIES_OURS = (
    "(has(object.metadata.annotations) && object.metadata.annotations.exists(name, "
    "name.startsWith('boundtoken.dev/'))) || (oldObject != null && "
    "has(oldObject.metadata.annotations) && oldObject.metadata.annotations.exists(name, "
    "name.startsWith('boundtoken.dev/'))) || (request.kind.kind != 'CronJob' && "
    "has(object.spec.template.metadata.annotations) && 'boundtoken.dev/from-workload' in "
    "object.spec.template.metadata.annotations) || (request.kind.kind == 'CronJob' && "
    "has(object.spec.jobTemplate.spec.template.metadata.annotations) && "
    "'boundtoken.dev/from-workload' in "
    "object.spec.jobTemplate.spec.template.metadata.annotations) || (request.kind.kind == "
    "'CronJob' && object.spec.jobTemplate.?metadata.?annotations.orValue({}).exists(name, "
    "name.startsWith('boundtoken.dev/')))"
)
NO_CONTROLLER = (
    "!has(object.metadata.ownerReferences) || !object.metadata.ownerReferences.exists(owner, "
    "has(owner.controller) && owner.controller)"
)
OWN_NAMESPACE = (
    "authorizer.serviceAccount(request.namespace, 'boundtoken') .group('boundtoken.dev')"
    ".resource('installation').check('own').allowed()"
)
CONDITIONS: dict[str, Callable[[Call], bool]] = {
    NOT_A_MIRROR_POD: _is_no_mirror_pod,
    CARRIES_OURS: _carries_ours,
    NO_CONTROLLER: _has_no_controller,
    f"!{OWN_NAMESPACE}": _is_not_ours,
}
"""The conditions of our manifests that can be about a pod or a workload, by their text with single
blanks. The last asks for a right that the manifests give in boundtoken's own namespace only."""


class Others(NamedTuple):
    """The other mutating webhooks that are called, or may be, as `configuration/entry`: before
    ours in the chain, and after.

    Source: apiserver/pkg/admission/configuration/mutating_webhook_manager.go (sorted by name).
    """

    before: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    """Of those before ours the ones that are called again when we changed the object."""
    after: tuple[str, ...] = ()


def _may_be_ours(entry: Entry, call: Call) -> bool:
    """Whether it has our place in the chain, although it may not be called."""
    return entry.is_ours and calling(entry, "", call).is_for_the_resource


def others(configurations: tuple[Configuration, ...], call: Call) -> Others:
    """Who else is called about this request."""
    ordered = sorted(configurations, key=lambda configuration: configuration.metadata.name)
    chain = [
        (entry, f"{configuration.metadata.name}/{entry.name}")
        for configuration in ordered
        for entry in configuration.webhooks or ()
        if calling(entry, "", call).called is not False or _may_be_ours(entry, call)
    ]
    ours = [at for at, (entry, _) in enumerate(chain) if entry.is_ours]
    first = ours[0] if ours else len(chain)
    before = [(entry, title) for entry, title in chain[:first] if not entry.is_ours]
    return Others(
        tuple(title for _, title in before),
        tuple(title for entry, title in before if entry.reinvocation_policy == "IfNeeded"),
        tuple(title for entry, title in chain[first:] if not entry.is_ours),
    )
