"""What the dashboard shows: rows of panels, each with its queries.

Variables of Grafana stay in the queries: `$cluster` is the label of that name, for a data source
with several clusters; `$namespace` is where boundtoken runs, and `$__rate_interval` is at least
four scrapes. Where all clusters are chosen, `$cluster` is `.*`, which series without the label
match as well.
"""

from dataclasses import dataclass

from tests.support.prometheus import Prometheus

CLUSTER = 'cluster=~"$cluster"'
NAMESPACE = f'{CLUSTER},namespace=~"$namespace"'
OURS = f'{CLUSTER},name=~"[a-z]+[.]boundtoken[.]dev"'
"""The entries of our webhook configurations in the metrics of the API server."""


@dataclass(frozen=True)
class Query:
    """`legend` is what Grafana calls each series. `is_rare`: there may be no series, because
    nothing of the kind has happened.
    """

    expr: str
    legend: str = ""
    is_rare: bool = False

    @property
    def runnable(self) -> str:
        """The query with values for the variables of Grafana, for all clusters."""
        return self.of_cluster(".*")

    def of_cluster(self, cluster: str) -> str:
        """The query with values for the variables of Grafana."""
        variables = {"$cluster": cluster, "$namespace": ".+", "$__rate_interval": "30s"}
        expr = self.expr
        for name, value in variables.items():
            expr = expr.replace(name, value)
        return expr


@dataclass(frozen=True)
class Panel:
    """`unit` is one of Grafana's. A `stat` shows the last value only."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    is_stat: bool = False


def rate(metric: str, labels: str = NAMESPACE, by: str = "") -> str:
    """The events of a counter in a second, summed by these labels."""
    grouped = f"sum by ({by})" if by else "sum"
    return f"{grouped} (rate({metric}{{{labels}}}[$__rate_interval]))"


def quantile(share: float, metric: str, labels: str = NAMESPACE, by: str = "le") -> str:
    return f"histogram_quantile({share}, {rate(metric + '_bucket', labels, by)})"


def of_replicas(metric: str) -> str:
    """A metric that other programs have as well, of our replicas only."""
    return f"{metric} and on (cluster, namespace, pod) boundtoken_ready{{{NAMESPACE}}}"


def one(expr: str, legend: str = "", *, is_rare: bool = False) -> tuple[Query, ...]:
    return (Query(expr, legend, is_rare),)


NOT_AFTER = "boundtoken_certificate_not_after_timestamp_seconds"
NOT_BEFORE = "boundtoken_certificate_not_before_timestamp_seconds"

ROWS: dict[str, tuple[Panel, ...]] = {
    "State": (
        Panel(
            "Ready replicas",
            "Of two in the manifests.",
            "none",
            one(f"sum(boundtoken_ready{{{NAMESPACE}}})"),
            True,
        ),
        Panel(
            "Alerts",
            "Alerts of boundtoken that fire, by severity.",
            "none",
            one(
                f'count by (severity) (ALERTS{{{CLUSTER},alertname=~"Boundtoken.+",alertstate="firing"}})',
                "{{severity}}",
                is_rare=True,
            ),
            True,
        ),
        Panel(
            "Release",
            "Of each replica; two of them while a rollout goes on.",
            "none",
            one(f"count by (version) (boundtoken_build_info{{{NAMESPACE}}})", "{{version}}"),
            True,
        ),
        Panel(
            "Configuration",
            "Replicas by the hash of the configuration that they use.",
            "none",
            one(f"count by (hash) (boundtoken_config_info{{{NAMESPACE}}})", "{{hash}}"),
            True,
        ),
        Panel(
            "In step",
            "1 where every replica finds what it has to keep as it must be. No caBundle where others keep the certificates.",
            "none",
            (
                Query(
                    f"min(boundtoken_policy_in_sync{{{NAMESPACE}}} and ignoring (hash) boundtoken_config_info)",
                    "policies",
                ),
                Query(
                    f'min(boundtoken_cabundle_in_sync{{{NAMESPACE}}} and ignoring (kind) {NOT_AFTER}{{kind="ca"}})',
                    "caBundle",
                ),
                Query(
                    f"min(boundtoken_config_last_reload_successful{{{NAMESPACE}}})", "configuration"
                ),
            ),
            True,
        ),
        Panel(
            "Self-probe",
            "What became of the pod that each replica asks for in a dry run: replicas by the last result.",
            "none",
            one(
                f"sum by (result) (boundtoken_self_probe_result{{{NAMESPACE}}}) > 0",
                "{{result}}",
                is_rare=True,
            ),
            True,
        ),
        Panel(
            "Last success of the self-probe",
            "How long ago a pod last came back injected, of the replica that waits longest; the pause between two probes beside.",
            "s",
            (
                Query(
                    f"max(time() - (boundtoken_self_probe_last_success_timestamp_seconds{{{NAMESPACE}}} > 0))",
                    "ago",
                    is_rare=True,
                ),
                Query(f"max(boundtoken_self_probe_interval_seconds{{{NAMESPACE}}})", "pause"),
            ),
            True,
        ),
        Panel(
            "Self-probes",
            "By result.",
            "ops",
            one(rate("boundtoken_self_probes_total", by="result"), "{{result}}"),
        ),
        Panel(
            "Duration of the self-probe",
            "From the request to the answer, for each replica.",
            "s",
            one(f"max by (pod) (boundtoken_self_probe_duration_seconds{{{NAMESPACE}}})", "{{pod}}"),
        ),
        Panel(
            "Expires in",
            "The certificate that expires first.",
            "s",
            one(f"min by (kind) ({NOT_AFTER}{{{NAMESPACE}}} - time())", "{{kind}}"),
            True,
        ),
    ),
    "Reviews": (
        Panel(
            "Reviews by outcome",
            "What boundtoken did with what it was asked about.",
            "reqps",
            one(rate("boundtoken_admission_requests_total", by="outcome"), "{{outcome}}"),
        ),
        Panel(
            "Reviews by reason",
            "What the objects are; docs/reference.md has the meaning of each.",
            "reqps",
            one(
                rate("boundtoken_admission_requests_total", by="resource, reason"),
                "{{resource}}: {{reason}}",
            ),
        ),
        Panel(
            "Time of a review in boundtoken",
            "From the last byte of a review to the first byte of its answer.",
            "s",
            tuple(
                Query(quantile(share, "boundtoken_admission_duration_seconds"), legend)
                for share, legend in ((0.5, "half"), (0.99, "99 %"))
            ),
        ),
        Panel(
            "Time of a call, as the API server sees it",
            "With connection, network and waiting. It goes on without boundtoken after 3 s.",
            "s",
            one(
                quantile(
                    0.99,
                    "apiserver_admission_webhook_admission_duration_seconds",
                    OURS,
                    "le, name",
                ),
                "{{name}}",
            ),
        ),
        Panel(
            "Went on without boundtoken",
            "Calls that failed, after which the API server went on.",
            "reqps",
            one(
                rate("apiserver_admission_webhook_fail_open_count", OURS, "name"),
                "{{name}}",
                is_rare=True,
            ),
        ),
        Panel(
            "Under way",
            "Reviews that are being read or answered.",
            "none",
            one(f"sum by (pod) (boundtoken_admission_in_flight{{{NAMESPACE}}})", "{{pod}}"),
        ),
    ),
    "Tokens": (
        Panel(
            "New pods with a token of a year",
            "Created in a day; none of excluded namespaces. boundtoken scan names those that run.",
            "none",
            one(f"sum(increase(boundtoken_year_long_token_pods_total{{{NAMESPACE}}}[1d]))", "pods"),
        ),
        Panel(
            "Legacy and stale tokens in use",
            "Requests to the API server with a token that never expires, and with one that its program should have read anew.",
            "reqps",
            (
                Query(rate("serviceaccount_legacy_tokens_total", CLUSTER), "legacy"),
                Query(rate("serviceaccount_stale_tokens_total", CLUSTER), "stale"),
            ),
        ),
        Panel(
            "Faults of users",
            "Bad values of annotations, once for each review, by where they stand.",
            "reqps",
            one(rate("boundtoken_policy_faults_total", by="layer"), "{{layer}}"),
        ),
        Panel(
            "Violations",
            "By rule and mode. What a policy of the API server denies is not seen here.",
            "reqps",
            one(rate("boundtoken_violations_total", by="rule, mode"), "{{rule}}: {{mode}}"),
        ),
        Panel(
            "Evaluations",
            "Pods and templates that were looked at, by result, mode and level.",
            "reqps",
            one(
                rate("boundtoken_policy_evaluations_total", by="decision, mode, level"),
                "{{decision}}: {{mode}} {{level}}",
            ),
        ),
        Panel(
            "Denied by the API server's policies",
            "Requests that one of boundtoken's policies has refused.",
            "reqps",
            one(
                rate(
                    "apiserver_validating_admission_policy_check_total",
                    f'{CLUSTER},policy=~"boundtoken-.+",enforcement_action="deny"',
                    "policy",
                ),
                "{{policy}}",
                is_rare=True,
            ),
        ),
    ),
    "What is kept": (
        Panel(
            "Lifetime left",
            "Renewed when a third is left.",
            "percentunit",
            one(
                f"min by (kind) (({NOT_AFTER}{{{NAMESPACE}}} - time()) / ({NOT_AFTER} - {NOT_BEFORE}))",
                "{{kind}}",
            ),
        ),
        Panel(
            "Certificates and policy bindings",
            "What was done about them.",
            "none",
            (
                Query(
                    f"sum by (kind, result) (increase(boundtoken_certificate_rotations_total{{{NAMESPACE}}}[1h]))",
                    "{{kind}}: {{result}}",
                ),
                Query(
                    f"sum by (result) (increase(boundtoken_policy_updates_total{{{NAMESPACE}}}[1h]))",
                    "policy binding: {{result}}",
                ),
            ),
        ),
        Panel(
            "Namespaces",
            "In the cache of each replica.",
            "none",
            (
                Query(f"boundtoken_namespaces{{{NAMESPACE}}}", "{{pod}}"),
                Query(f"boundtoken_namespace_cache_synced{{{NAMESPACE}}}", "{{pod}}: listed"),
                Query(
                    f"boundtoken_legacy_token_cache_synced{{{NAMESPACE}}}",
                    "{{pod}}: legacy tokens listed",
                ),
            ),
        ),
        Panel(
            "Last heard of namespaces",
            "Bookmarks come about once a minute.",
            "s",
            one(
                f"time() - boundtoken_namespace_last_event_timestamp_seconds{{{NAMESPACE}}}",
                "{{pod}}",
            ),
        ),
        Panel(
            "Lists of all namespaces",
            "By what made them necessary.",
            "none",
            one(
                f"sum by (reason) (increase(boundtoken_namespace_relists_total{{{NAMESPACE}}}[1h]))",
                "{{reason}}",
            ),
        ),
        Panel(
            "Lookups of namespaces",
            "Of those that were not in the cache. Many that are unknown: somebody else than the API server asks.",
            "reqps",
            one(rate("boundtoken_namespace_lookups_total", by="result"), "{{result}}"),
        ),
    ),
    "Process": (
        Panel(
            "Delay of the event loop",
            "The worst since the last scrape.",
            "s",
            one(f"boundtoken_event_loop_lag_seconds{{{NAMESPACE}}}", "{{pod}}"),
        ),
        Panel(
            "Memory",
            "The manifests set a limit of 448 MiB.",
            "bytes",
            one(of_replicas("process_resident_memory_bytes"), "{{pod}}"),
        ),
        Panel(
            "CPU",
            "Cores.",
            "none",
            one(of_replicas("rate(process_cpu_seconds_total[$__rate_interval])"), "{{pod}}"),
        ),
        Panel(
            "Connections",
            "Of those that may be open.",
            "percentunit",
            one(
                f"boundtoken_connections{{{NAMESPACE}}} / boundtoken_connections_limit",
                "{{pod}}: {{port}}",
            ),
        ),
        Panel(
            "Cut and refused",
            "Connections closed by a limit, or not accepted, and requests that were no reviews.",
            "reqps",
            (
                Query(
                    rate("boundtoken_connections_cut_total", by="port, reason"),
                    "{{port}}: {{reason}}",
                ),
                Query(rate("boundtoken_accept_errors_total"), "not accepted"),
                Query(rate("boundtoken_http_refusals_total", by="code"), "{{code}}", is_rare=True),
            ),
        ),
        Panel(
            "Log lines lost",
            "Because nobody read standard error fast enough.",
            "none",
            one(rate("boundtoken_log_lines_lost_total", by="pod"), "{{pod}}"),
        ),
    ),
}

QUERIES = [query for panels in ROWS.values() for panel in panels for query in panel.queries]


def empty(prometheus: Prometheus) -> list[str]:
    """The queries of the dashboard that show nothing and should; each is run.

    Raises: RefusedQuery
    """
    without = [query for query in QUERIES if not prometheus.query(query.runnable)]
    return [query.expr for query in without if not query.is_rare]
