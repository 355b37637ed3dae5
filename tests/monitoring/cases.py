"""When each alert fires and when it must not: series, and how many alerts fire at which minute.

A series has a value for each minute, in promtool's notation: `1x20` is 1 and 20 times more the
same, `0+1x20` rises by 1, `_x5` has none.
"""

from typing import NamedTuple


class Case(NamedTuple):
    """`firing` is how many fire, by minute. `what` says it in words."""

    alert: str
    severity: str
    what: str
    series: dict[str, str]
    firing: dict[int, int]


A, B = 'namespace="own",pod="a"', 'namespace="own",pod="b"'
"""The labels that the targets of two replicas have."""
OPEN = 'apiserver_admission_webhook_fail_open_count{job="apiserver",instance="1",name="pods.boundtoken.dev",type="admit"}'
OF_OTHERS = 'apiserver_admission_webhook_fail_open_count{job="apiserver",instance="1",name="pods.example.com",type="admit"}'
CALLS = 'apiserver_admission_webhook_request_total{job="apiserver",instance="1",name="pods.boundtoken.dev",type="admit",operation="CREATE",code="200",rejected="false"}'
UP = 'up{job="apiserver",instance="1"}'
NOT_AFTER = "boundtoken_certificate_not_after_timestamp_seconds"
NOT_BEFORE = "boundtoken_certificate_not_before_timestamp_seconds"
LAST_EVENT = "boundtoken_namespace_last_event_timestamp_seconds"
SLOW = "boundtoken_admission_duration_seconds"
INTERNAL = f'boundtoken_admission_requests_total{{{A},operation="CREATE",resource="pods",outcome="failed",reason="internal-error"}}'
PROBED = "boundtoken_self_probe_result"
PROBED_TOTAL = "boundtoken_self_probes_total"
CA = f'{NOT_AFTER}{{{A},kind="ca"}}'
INFO = f'boundtoken_config_info{{{A},hash="1"}}'


def leaf(not_before: int, not_after: int) -> dict[str, str]:
    """A certificate, by minutes; the clock of the test begins at 0."""
    labels = f'{{{A},kind="leaf"}}'
    return {
        f"{NOT_BEFORE}{labels}": f"{not_before * 60}x20",
        f"{NOT_AFTER}{labels}": f"{not_after * 60}x20",
    }


def reviews(all_: str, quick: str) -> dict[str, str]:
    return {f"{SLOW}_count{{{A}}}": all_, f'{SLOW}_bucket{{{A},le="1.0"}}': quick}


CASES = (
    Case(
        "BoundtokenUnreachable",
        "critical",
        "no replica is ready",
        {f"boundtoken_ready{{{A}}}": "0x20", f"boundtoken_ready{{{B}}}": "0x20"},
        {4: 0, 6: 1},
    ),
    Case("BoundtokenUnreachable", "critical", "none is scraped", {}, {4: 0, 6: 1}),
    Case(
        "BoundtokenUnreachable",
        "critical",
        "one is ready",
        {f"boundtoken_ready{{{A}}}": "0x20", f"boundtoken_ready{{{B}}}": "1x20"},
        {15: 0},
    ),
    Case(
        "BoundtokenNotCalled",
        "critical",
        "one replica finds it for six minutes",
        {
            f'{PROBED}{{{A},result="not-injected"}}': "1x20",
            f'{PROBED}{{{B},result="not-injected"}}': "0x20",
        },
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenNotCalled",
        "critical",
        "a rollout is over",
        {f'{PROBED}{{{A},result="not-injected"}}': "1x3 0x20"},
        {3: 0, 12: 0},
    ),
    Case(
        "BoundtokenNotCalled",
        "critical",
        "it is refused, which is another matter",
        {
            f'{PROBED}{{{A},result="refused"}}': "1x20",
            f'{PROBED}{{{A},result="not-injected"}}': "0x20",
        },
        {15: 0},
    ),
    Case(
        "BoundtokenNotCalled",
        "warning",
        "one of three API servers does not call",
        {f'{PROBED_TOTAL}{{{A},result="not-injected"}}': "0x4 1 1 2 2 2 3 4 4 4 4 5+0.25x40"},
        {24: 0, 27: 1},
    ),
    Case(
        "BoundtokenNotCalled",
        "warning",
        "none did for nine minutes",
        {f'{PROBED_TOTAL}{{{A},result="not-injected"}}': "0x4 1+1x8 9x40"},
        {13: 0, 24: 0, 40: 0},
    ),
    Case(
        "BoundtokenNotCalled",
        "critical",
        "one of three API servers does not call, which another rule tells",
        {f'{PROBED}{{{A},result="not-injected"}}': "0 1 0 0 1 0 1 1 0 0 1 0 0x20"},
        {6: 0, 8: 0, 15: 0},
    ),
    Case(
        "BoundtokenSelfProbeBlind",
        "warning",
        "it cannot ask for half an hour",
        {f'{PROBED}{{{A},result="could-not-ask"}}': "1x60"},
        {29: 0, 31: 1},
    ),
    Case(
        "BoundtokenSelfProbeBlind",
        "warning",
        "it comes back injected",
        {
            f'{PROBED}{{{A},result="refused"}}': "1x20 0x40",
            f'{PROBED}{{{A},result="injected"}}': "0x20 1x40",
        },
        {31: 0},
    ),
    Case(
        "BoundtokenPolicyOutOfStep",
        "critical",
        "one replica finds another setting, for ten minutes",
        {
            f"boundtoken_policy_in_sync{{{A}}}": "0x20",
            f"boundtoken_policy_in_sync{{{B}}}": "1x20",
            INFO: "1x20",
        },
        {9: 0, 11: 1},
    ),
    Case(
        "BoundtokenPolicyOutOfStep",
        "critical",
        "a change of the configuration takes four and a half",
        {f"boundtoken_policy_in_sync{{{A}}}": "1 0 0 0 0 0 1x20", INFO: "1x20"},
        {5: 0, 15: 0},
    ),
    Case(
        "BoundtokenPolicyOutOfStep",
        "critical",
        "a process without a configuration keeps no policy",
        {f"boundtoken_policy_in_sync{{{A}}}": "0x20"},
        {15: 0},
    ),
    Case(
        "BoundtokenCertificateExpiring",
        "warning",
        "a fifth is left",
        leaf(-400, 110),
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenCertificateExpiring",
        "warning",
        "three tenths are left: renewal was tried and may still succeed",
        leaf(-700, 330),
        {15: 0},
    ),
    Case(
        "BoundtokenCertificateExpiring",
        "critical",
        "it has expired",
        leaf(-400, 0),
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenCertificateExpiring",
        "critical",
        "a fifth is left",
        leaf(-400, 110),
        {15: 0},
    ),
    Case(
        "BoundtokenCaBundleDrift",
        "critical",
        "it stays so",
        {f"boundtoken_cabundle_in_sync{{{A}}}": "0x20", CA: "9e9x20"},
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenCaBundleDrift",
        "critical",
        "it is written back",
        {f"boundtoken_cabundle_in_sync{{{A}}}": "1 0 0 1x20", CA: "9e9x20"},
        {2: 0, 12: 0},
    ),
    Case(
        "BoundtokenCaBundleDrift",
        "critical",
        "others keep the certificates",
        {
            f"boundtoken_cabundle_in_sync{{{A}}}": "0x20",
            f'{NOT_AFTER}{{{A},kind="leaf"}}': "9e9x20",
        },
        {15: 0},
    ),
    Case(
        "BoundtokenSlow",
        "warning",
        "two of a hundred are slow",
        reviews("0+100x30", "0+98x30"),
        {3: 0, 20: 1},
    ),
    Case(
        "BoundtokenSlow",
        "warning",
        "one of a thousand is slow",
        reviews("0+1000x30", "0+999x30"),
        {20: 0},
    ),
    Case(
        "BoundtokenSlow",
        "warning",
        "of few reviews some are slow",
        reviews("0+1x30", "0x10 1+1x20"),
        {29: 0},
    ),
    Case("BoundtokenSlow", "warning", "nobody asks", reviews("0x30", "0x30"), {20: 0}),
    Case(
        "BoundtokenCacheStale",
        "warning",
        "nothing is heard any more",
        {f"{LAST_EVENT}{{{A}}}": "0 60 120x30"},
        {11: 0, 14: 1},
    ),
    Case(
        "BoundtokenCacheStale",
        "warning",
        "bookmarks come",
        {f"{LAST_EVENT}{{{A}}}": "0+60x30"},
        {20: 0},
    ),
    Case(
        "BoundtokenConfigurationRejected",
        "warning",
        "one replica has not read it",
        {
            f"boundtoken_config_last_reload_successful{{{A}}}": "0x20",
            f"boundtoken_config_last_reload_successful{{{B}}}": "1x20",
        },
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenConfigurationRejected",
        "warning",
        "it is fixed",
        {f"boundtoken_config_last_reload_successful{{{A}}}": "0 0 0 1x20"},
        {2: 0, 12: 0},
    ),
    Case(
        "BoundtokenEventLoopLag",
        "warning",
        "it is held up all the time",
        {f"boundtoken_event_loop_lag_seconds{{{A}}}": "0.8x20"},
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenEventLoopLag",
        "warning",
        "a burst holds it up",
        {f"boundtoken_event_loop_lag_seconds{{{A}}}": "0.01 2 0.01 2 0.01x20"},
        {3: 0, 15: 0},
    ),
    Case(
        "BoundtokenConnectionsFull",
        "warning",
        "one port is full",
        {
            f'boundtoken_connections{{{A},port="tls"}}': "512x20",
            f'boundtoken_connections_limit{{{A},port="tls"}}': "512x20",
            f'boundtoken_connections{{{A},port="plain"}}': "1x20",
            f'boundtoken_connections_limit{{{A},port="plain"}}': "64x20",
        },
        {4: 0, 6: 1},
    ),
    Case(
        "BoundtokenConnectionsFull",
        "warning",
        "half of them are open",
        {
            f'boundtoken_connections{{{A},port="tls"}}': "256x20",
            f'boundtoken_connections_limit{{{A},port="tls"}}': "512x20",
        },
        {15: 0},
    ),
    Case(
        "BoundtokenLogLinesLost",
        "warning",
        "one is lost, and it is told for ten minutes",
        {f"boundtoken_log_lines_lost_total{{{A}}}": "0x4 1x40"},
        {3: 0, 6: 1, 30: 0},
    ),
    Case(
        "BoundtokenLogLinesLost",
        "warning",
        "the replica starts anew",
        {f"boundtoken_log_lines_lost_total{{{A}}}": "7x14 0x20"},
        {12: 0, 16: 0},
    ),
    Case(
        "BoundtokenOneReplica",
        "warning",
        "the other one is not ready",
        {f"boundtoken_ready{{{A}}}": "1x30", f"boundtoken_ready{{{B}}}": "0x30"},
        {14: 0, 16: 1},
    ),
    Case(
        "BoundtokenOneReplica",
        "warning",
        "two jobs scrape the only one",
        {f'boundtoken_ready{{{A},job="{job}"}}': "1x30" for job in ("boundtoken", "pods")},
        {14: 0, 16: 1},
    ),
    Case(
        "BoundtokenOneReplica",
        "warning",
        "there is no other one",
        {f"boundtoken_ready{{{A}}}": "1x30"},
        {14: 0, 16: 1},
    ),
    Case(
        "BoundtokenOneReplica",
        "warning",
        "two are ready",
        {f"boundtoken_ready{{{A}}}": "1x30", f"boundtoken_ready{{{B}}}": "1x30"},
        {20: 0},
    ),
    Case(
        "BoundtokenOneReplica",
        "warning",
        "none is ready, which another alert tells",
        {f"boundtoken_ready{{{A}}}": "0x30"},
        {20: 0},
    ),
    Case(
        "BoundtokenInternalError",
        "warning",
        "the first one, with which the series begins",
        {INTERNAL: "_x4 1x40"},
        {3: 0, 6: 1, 30: 0},
    ),
    Case("BoundtokenInternalError", "warning", "another one", {INTERNAL: "1x20 2x20"}, {22: 1}),
    Case(
        "BoundtokenInternalError",
        "warning",
        "other reasons",
        {INTERNAL.replace("internal-error", "injected"): "0+9x40"},
        {15: 0},
    ),
    Case(
        "BoundtokenFaultsByUsers",
        "info",
        "two layers have one",
        {
            f'boundtoken_policy_faults_total{{{A},layer="pod"}}': "0x4 1x90",
            f'boundtoken_policy_faults_total{{{B},layer="pod"}}': "0x4 1x90",
            f'boundtoken_policy_faults_total{{{A},layer="namespace"}}': "0x4 3x90",
        },
        {3: 0, 6: 2, 80: 0},
    ),
    Case(
        "BoundtokenFaultsByUsers",
        "info",
        "nobody has one",
        {f'boundtoken_policy_faults_total{{{A},layer="pod"}}': "0x40"},
        {20: 0},
    ),
    Case(
        "BoundtokenYearLongTokens",
        "info",
        "pods are created with one",
        {f"boundtoken_year_long_token_pods_total{{{A}}}": "0x4 2x90"},
        {3: 0, 6: 1, 80: 1},
    ),
    Case(
        "BoundtokenYearLongTokens",
        "info",
        "none is",
        {f"boundtoken_year_long_token_pods_total{{{A}}}": "5x90"},
        {80: 0},
    ),
    Case(
        "BoundtokenFailedOpen",
        "warning",
        "the first time, with which the series begins",
        {OPEN: "_x14 1x40", UP: "1x60"},
        {13: 0, 16: 1, 40: 0},
    ),
    Case("BoundtokenFailedOpen", "warning", "another time", {OPEN: "1x20 2x30"}, {19: 0, 22: 1}),
    Case(
        "BoundtokenFailedOpen",
        "warning",
        "a first install, whose entries are there a minute before a replica",
        {OPEN: "_x14 5 8x40", UP: "1x60"},
        {13: 0, 16: 1, 40: 0},
    ),
    Case(
        "BoundtokenFailedOpen",
        "critical",
        "a first install, whose entries are there a minute before a replica",
        {OPEN: "_x14 5 8x40", CALLS: "_x14 5 8 9+1x40"},
        dict.fromkeys(range(10, 40), 0),
    ),
    Case(
        "BoundtokenFailedOpen",
        "warning",
        "it was before Prometheus came",
        {OPEN: "9x40", UP: "1x40"},
        {1: 0, 5: 0, 15: 0},
    ),
    Case(
        "BoundtokenFailedOpen",
        "warning",
        "webhooks of others",
        {OF_OTHERS: "0+1x40", UP: "1x40"},
        {20: 0},
    ),
    Case(
        "BoundtokenFailedOpen",
        "critical",
        "every call fails",
        {OPEN: "0+10x40", CALLS: "0+10x40"},
        {4: 0, 12: 1},
    ),
    Case(
        "BoundtokenFailedOpen",
        "critical",
        "one of ten fails",
        {OPEN: "0+1x40", CALLS: "0+10x40"},
        {20: 0},
    ),
    Case(
        "BoundtokenFailedOpen",
        "critical",
        "every call of one of three API servers fails",
        {
            OPEN: "0+10x40",
            **{
                CALLS.replace('instance="1"', f'instance="{number}"'): "0+10x40" for number in "123"
            },
        },
        {4: 0, 12: 1},
    ),
    Case(
        "BoundtokenFailedOpen",
        "critical",
        "both calls of one that hardly ever calls failed",
        {OPEN: "1x5 2x3 3x30", CALLS: "5x5 6x3 7x30"},
        {11: 0, 12: 0, 13: 0, 14: 0},
    ),
    Case(
        "BoundtokenFailedOpen", "critical", "nobody calls", {OPEN: "3x40", CALLS: "9x40"}, {20: 0}
    ),
    Case(
        "BoundtokenLegacyTokenInUse",
        "info",
        "one of two API servers sees it, and it is told for a day",
        {
            'serviceaccount_legacy_tokens_total{instance="1"}': "0x4 1x1500",
            'serviceaccount_legacy_tokens_total{instance="2"}': "0x1504",
        },
        {3: 0, 6: 1, 80: 1, 1400: 1, 1460: 0},
    ),
    Case(
        "BoundtokenLegacyTokenInUse",
        "info",
        "a job that runs every six hours is told once, as long as it runs",
        {'serviceaccount_legacy_tokens_total{instance="1"}': "0x4 1x359 2x359 3x359 4x359 5x359"},
        {3: 0, **dict.fromkeys(range(6, 1800, 30), 1)},
    ),
    Case(
        "BoundtokenLegacyTokenInUse",
        "info",
        "it was long ago",
        {'serviceaccount_legacy_tokens_total{instance="1"}': "5x90"},
        {30: 0},
    ),
    Case(
        "BoundtokenStaleTokenInUse",
        "info",
        "a job that runs every six hours is told once, as long as it runs",
        {'serviceaccount_stale_tokens_total{instance="1"}': "0x4 1x359 2x359 3x359 4x359 5x359"},
        {3: 0, **dict.fromkeys(range(6, 1800, 30), 1)},
    ),
    Case(
        "BoundtokenStaleTokenInUse",
        "info",
        "the API server starts anew",
        {'serviceaccount_stale_tokens_total{instance="1"}': "5x9 0x30"},
        {8: 0, 15: 0},
    ),
)
