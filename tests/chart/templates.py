"""The templates of the chart that are made from manifests, so that what has no choice in it is
written once.

A manifest stays the text that it is, comments too. It gets the release's namespace, the labels of
Helm, and a condition where only a value lets it be rendered.
"""

import re
import textwrap
from collections.abc import Callable

from tests.support.paths import ROOT
from webhook.core import names

NAMESPACE = "{{ .Release.Namespace | quote }}"
LABELS = '    {{- include "boundtoken.labels" . | nindent 4 }}\n'
ANNOTATIONS = """\
  {{- with include "boundtoken.webhookAnnotations" . }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
"""
MONITORING_LABELS = LABELS.replace("boundtoken.labels", "boundtoken.monitoringLabels")
NAMESPACED = (
    *("ServiceAccount", "ResourceQuota", "Role", "RoleBinding", "Service", "Issuer", "Certificate"),
    *("PodMonitor", "ServiceMonitor", "PrometheusRule"),
)
_ALERT = re.compile(r"(?:    #.*\n)*    - alert: (\w+)\n(?:      .*\n)+")
"""A rule in the text of a PrometheusRule, with the comment above it."""
_RULES_HEAD = """\
{{- $rule := .Values.monitoring.prometheusRule }}
{{- $off := $rule.disabled | default list | uniq }}
{{- if and (not (kindIs "invalid" .Values.replicas)) (lt (int .Values.replicas) 2) }}
{{- $off = append $off "BoundtokenOneReplica" | uniq }}
{{- end }}
"""
OPEN = '{{ "{{" }}'
"""What Helm renders as the two braces that belong to another program."""
_OWN_LABELS = re.compile(r"^  labels:\n(?:    app\.kubernetes\.io/\S+: .+\n)+", re.MULTILINE)
_OPEN_ENTRY = "  failurePolicy: Ignore\n"
_FAIL_CLOSED = "manifests/optional/legacy-tokens-fail-closed/kustomization.yaml"


def made() -> dict[str, str]:
    """The text of each template that is made, by its name in templates/."""
    return {name: _made(source, change) for name, (source, change) in SOURCES.items()}


def _made(source: str, change: Callable[[str], str]) -> str:
    text = (ROOT / source).read_text().replace("{{", OPEN)
    head = f"{{{{- /* Made by `make chart` from {source}: change that. */ -}}}}\n"
    return head + change(text)


def _placed(text: str) -> str:
    """With namespace and labels in each document."""
    return "---\n".join(map(_document, text.split("---\n")))


def _document(text: str) -> str:
    kind = re.search(r"^kind: (\w+)$", text, re.MULTILINE)
    assert kind is not None
    text, labelled = _OWN_LABELS.subn(lambda found: found[0] + LABELS, text)
    if labelled != 1:
        raise ValueError(f"{kind[1]}: must have labels of its own, once")
    if kind[1] in NAMESPACED:
        text = text.replace("\n  labels:\n", f"\n  namespace: {NAMESPACE}\n  labels:\n", 1)
    text = re.sub(
        r"(?<=^- kind: ServiceAccount\n)  name: boundtoken\n", _subject, text, flags=re.MULTILINE
    )
    return text.replace(
        "service: {name: boundtoken,", f"service: {{name: boundtoken, namespace: {NAMESPACE},"
    )


def _subject(found: re.Match[str]) -> str:
    return f"{found[0]}  namespace: {NAMESPACE}\n"


def _webhooks(text: str) -> str:
    return _placed(text).replace(LABELS, LABELS + ANNOTATIONS, 1)


def _validating(text: str) -> str:
    """The entry for pods fails closed where legacyTokens.failClosed says so."""
    first, entry, rest = _webhooks(text).partition(_OPEN_ENTRY)
    if first.count("\n- name: ") != 1 or "\n- name: enforced.boundtoken.dev" not in first:
        raise ValueError("the first entry must be enforced.boundtoken.dev")
    patch = _fail_closed_after("    - name: enforced.boundtoken.dev\n")
    closed = textwrap.indent(textwrap.dedent(patch), "  ")
    choice = f"  {{{{- if .Values.legacyTokens.failClosed }}}}\n{closed}  {{{{- else }}}}\n{entry}  {{{{- end }}}}\n"
    return first + choice + rest


def _rbac(text: str) -> str:
    """Without the rights that a CA of our own needs, where the certificate is another's, and that
    of the self-probe where there is none, and with those of the component
    legacy-tokens-fail-closed.
    """
    text = _placed(text)
    own = 'eq .Values.certificates.mode "self-managed"'
    probes = 'ne (toString (.Values.options).selfProbeInterval) "0"'
    conditions = (("webhookconfigurations", own), ("secrets", own), ("pods].+self-probe", probes))
    for resource, condition in conditions:
        rule = _rule_with(resource, text)
        text = text.replace(rule, f"{{{{- if {condition} }}}}\n{rule}{{{{- end }}}}\n")
    comment, _, right = _fail_closed_after("      path: /rules/-\n      value:").partition("\n")
    right = "- " + textwrap.indent(textwrap.dedent(right), "  ")[2:]
    right = right.replace("]\n", f"]{comment}\n", 1)
    end = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n"
    return text.replace(
        end, f"{{{{- if .Values.legacyTokens.failClosed }}}}\n{right}{{{{- end }}}}\n{end}"
    )


def _fail_closed_after(line: str) -> str:
    """The rest of a patch of the component legacy-tokens-fail-closed."""
    return (ROOT / _FAIL_CLOSED).read_text().partition(line)[2].partition("- target:")[0]


def _rule_with(resource: str, text: str) -> str:
    """The rules of a role about a resource, one after the other."""
    rules = re.findall(r"^- apiGroups: .+\n(?:  .+\n)+", text, re.MULTILINE)
    found = [
        rule for rule in rules if re.search(rf"^  resources: \[\w*{resource}", rule, re.MULTILINE)
    ]
    if (together := "".join(found)) not in text or not found:
        raise ValueError(f"30-rbac.yaml: the rules about {resource} must stand together")
    return together


def _legacy_tokens(text: str) -> str:
    return f"{{{{- if .Values.legacyTokens.enabled }}}}\n{_placed(text)}{{{{- end }}}}\n"


def _monitoring(text: str) -> str:
    """Labels by which the operator's Prometheus finds it, but for a Service."""
    documents = _placed(text).split("---\n")
    return "---\n".join(
        document if "\nkind: Service\n" in document else document.replace(LABELS, MONITORING_LABELS)
        for document in documents
    )


def _monitor(value: str) -> Callable[[str], str]:
    """One that is rendered where this value says so, and scrapes as others say."""
    scrape = (
        "    interval: {{ .Values.monitoring.interval | quote }}\n"
        "    {{- with .Values.monitoring.scrapeTimeout }}\n"
        "    scrapeTimeout: {{ . | quote }}\n"
        "    {{- end }}\n"
    )

    def change(text: str) -> str:
        text = text.replace("    interval: 30s\n", scrape)
        return (
            f"{{{{- if .Values.monitoring.{value}.enabled }}}}\n{_monitoring(text)}{{{{- end }}}}\n"
        )

    return change


def _rule(text: str) -> str:
    """The alerts that are not switched off, in the groups that have one left."""
    head, *groups = re.split(r"^(?=  - name: )", _monitoring(text), flags=re.MULTILINE)
    count = len(_alerts(text))
    return (
        f"{_RULES_HEAD}{{{{- if and $rule.enabled (lt (len $off) {count}) }}}}\n"
        f"{head}{''.join(map(_group, groups))}{{{{- end }}}}\n"
    )


def _alerts(text: str) -> list[str]:
    """The names of the alerts in a text, each once."""
    return list(dict.fromkeys(found[1] for found in _ALERT.finditer(text)))


def _group(text: str) -> str:
    alerts = " ".join(f'"{name}"' for name in _alerts(text))
    listed = textwrap.fill(alerts, 120, initial_indent="    ", subsequent_indent="    ")
    return (
        f"  {{{{- $alerts := list\n{listed} }}}}\n"
        "  {{- if gt (len (concat $off $alerts | uniq)) (len $off) }}\n"
        f"{_ALERT.sub(_alert, text)}  {{{{- end }}}}\n"
    )


def _alert(found: re.Match[str]) -> str:
    """With further labels and annotations, and with the address of its page."""
    name, text = found[1], found[0]
    more = "        {{{{- with $rule.{} }}}}{{{{ toYaml . | nindent 8 }}}}{{{{ end }}}}\n"
    text, labelled = re.subn(
        r"^      labels: \{(severity: \w+)\}\n",
        rf"      labels:\n        \1\n{more.format('additionalLabels')}",
        text,
        flags=re.MULTILINE,
    )
    text, linked = re.subn(
        rf"(?<=^        runbook_url: )\S+/{name}\.md\n\Z",
        f'{{{{ replace "ALERT" "{name}" $rule.runbooks | quote }}}}\n{more.format("additionalAnnotations")}',
        text,
        flags=re.MULTILINE,
    )
    if (labelled, linked) != (1, 1):
        raise ValueError(f"{name}: must have its severity alone as a label, and its page last")
    return f'    {{{{- if not (has "{name}" $off) }}}}\n{text}    {{{{- end }}}}\n'


def _quota(text: str) -> str:
    """For the class of the pods, where it is one of Kubernetes' own."""
    made = _placed(text).replace(
        "values: [system-cluster-critical]", "values: [{{ .Values.priorityClass.name | quote }}]"
    )
    return f'{{{{- if hasPrefix "system-" .Values.priorityClass.name }}}}\n{made}{{{{- end }}}}\n'


def _certificates(text: str) -> str:
    """Of cert-manager: the CA of its own only where no issuer is named."""
    documents = text[text.index("apiVersion:") :].split("---\n")
    *own, last = (
        _document(document.replace(f"  namespace: {names.NAMESPACE}\n", ""))
        .replace(f".{names.NAMESPACE}", ".{{ .Release.Namespace }}")
        .replace(
            "secretName: boundtoken-tls",
            "secretName: {{ .Values.certificates.secretName | quote }}",
        )
        for document in documents
    )
    issuer = "  issuerRef: {name: boundtoken, kind: Issuer}\n"
    if issuer not in last:
        raise ValueError("certificates.yaml: the last document must name its issuer")
    chosen = (
        "  {{- with .Values.certificates.issuerRef }}\n  issuerRef:\n    {{- toYaml . | nindent 4 }}\n"
        f"  {{{{- else }}}}\n{issuer}  {{{{- end }}}}\n"
    )
    return (
        '{{- if eq .Values.certificates.mode "cert-manager" }}\n'
        "{{- if not .Values.certificates.issuerRef }}\n"
        + "---\n".join(own)
        + "---\n{{- end }}\n"
        + last.replace(issuer, chosen)
        + "{{- end }}\n"
    )


SOURCES: dict[str, tuple[str, Callable[[str], str]]] = {
    "20-serviceaccount.yaml": ("manifests/20-serviceaccount.yaml", _placed),
    "25-resourcequota.yaml": ("manifests/25-resourcequota.yaml", _quota),
    "30-rbac.yaml": ("manifests/30-rbac.yaml", _rbac),
    "50-service.yaml": ("manifests/50-service.yaml", _placed),
    "70-mutatingwebhookconfiguration.yaml": (
        "manifests/70-mutatingwebhookconfiguration.yaml",
        _webhooks,
    ),
    "75-validatingwebhookconfiguration.yaml": (
        "manifests/75-validatingwebhookconfiguration.yaml",
        _validating,
    ),
    "80-validatingadmissionpolicy.yaml": ("manifests/80-validatingadmissionpolicy.yaml", _placed),
    "85-enforcement.yaml": ("manifests/85-enforcement.yaml", _placed),
    "90-misplaced.yaml": ("manifests/90-misplaced.yaml", _placed),
    "certificates.yaml": (
        "manifests/optional/cert-manager/certificates.yaml",
        _certificates,
    ),
    "monitoring/podmonitor.yaml": ("manifests/monitoring/podmonitor.yaml", _monitor("podMonitor")),
    "monitoring/servicemonitor.yaml": (
        "manifests/monitoring/servicemonitor/servicemonitor.yaml",
        _monitor("serviceMonitor"),
    ),
    "monitoring/prometheusrule.yaml": ("manifests/monitoring/prometheusrule.yaml", _rule),
    "legacy-tokens.yaml": ("manifests/optional/legacy-tokens/rbac.yaml", _legacy_tokens),
}
"""The source of each, and what is changed of its text."""
