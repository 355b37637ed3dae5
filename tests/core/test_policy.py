"""Layers, locks, faults and who decided; exact messages are part of the contract."""

from typing import Any

import pytest

from tests.support.builders import a_namespace_policy
from tests.support.strategies import POOLS
from webhook.core import levels, names, policy
from webhook.core.annotations import parse_mount_path, split_list
from webhook.core.limits import Locks, Token
from webhook.core.policy import ClusterPolicy, NamespacePolicy, Resolution, TokenPolicy

PATH_PROBLEM = (
    'must be an absolute path of at most 4095 bytes without "//", ".", ".." and ":", and not "/"'
)

SYSTEM_PROBLEM = (
    "must not hide a system folder: /etc, /dev, /usr, /bin, /sbin, /lib* (in /usr too), /proc and "
    "/sys"
)


def resolution_of(namespace: NamespacePolicy, **annotations: str) -> Resolution:
    return policy.resolve(
        namespace,
        {names.DOMAIN + name.replace("_", "-"): value for name, value in annotations.items()},
    )


def fault_texts(resolution: Resolution) -> list[str]:
    return [str(fault) for fault in resolution.faults]


def test_every_wish_names_a_field_of_the_policy() -> None:
    assert {row[0] for row in policy.SETTINGS} == set(TokenPolicy.__struct_fields__)
    assert {row[0] for row in policy.LOCKS} == set(Locks.__struct_fields__)


def test_every_annotation_is_read_and_has_values_for_the_laws() -> None:
    settings, locks = ({row[1] for row in rows} for rows in (policy.SETTINGS, policy.LOCKS))
    of_levels = {*levels.LEVEL_OF.values(), *levels.VERSION_OF.values()}
    assert settings == names.FOR_PODS
    assert (settings & names.FOR_NAMESPACES) | locks | of_levels == names.FOR_NAMESPACES
    assert (settings | locks) - POOLS.keys() == set(), "values in tests/support/strategies.py"


def test_a_path_may_have_a_slash_at_its_end_and_as_many_bytes_as_the_kernel_takes() -> None:
    longest = "/" + "a" * 4094
    assert [parse_mount_path(text, Locks()) for text in ("/a.b/", longest)] == [
        ("/a.b", ()),
        (longest, ()),
    ]


@pytest.mark.parametrize(
    "path",
    ["/etc/boundtoken", "/usr/local", "/usr/share/bound", "/dev/bound", "/lib/bound", "/etcetera"],
)
def test_a_folder_of_our_own_below_a_system_folder_hides_nothing(path: str) -> None:
    assert parse_mount_path(path, Locks()) == (path, ())


def test_without_annotations_the_defaults_hold_and_nothing_is_made_anew() -> None:
    namespace = a_namespace_policy()
    assert (
        policy.resolve(namespace, {"team": "shop", names.STATUS: "injected policy=00000000"})
        is namespace.resolution
    )
    assert namespace.resolution.policy == TokenPolicy()


def test_pod_beats_namespace_beats_defaults() -> None:
    cluster = ClusterPolicy(
        TokenPolicy(inject="enabled", audience="default", expiration_seconds=1200)
    )
    resolution = resolution_of(
        a_namespace_policy(cluster, audience="namespace"), expiration_seconds="1800"
    )
    assert resolution.policy == TokenPolicy(
        inject="enabled", audience="namespace", expiration_seconds=1800
    )
    assert resolution.decided_by["inject"] == "defaults"
    assert resolution.decided_by["audience"] == "namespace"
    assert resolution.decided_by["expiration_seconds"] == "pod"


def test_the_hash_is_of_the_policy_and_of_nothing_else() -> None:
    once = resolution_of(a_namespace_policy(inject="enabled"), audience="x").hash
    assert once == resolution_of(a_namespace_policy(), inject="enabled", audience="x").hash
    assert once != resolution_of(a_namespace_policy(), inject="enabled").hash
    assert len(once) == 8


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        pytest.param(
            "inject",
            "Enabled",
            'must be "enabled", "replace" or "disabled", spelled exactly so',
            id="case counts",
        ),
        pytest.param(
            "inject",
            "true",
            'must be "enabled", "replace" or "disabled", spelled exactly so',
            id="true is no switch",
        ),
        pytest.param(
            "automount",
            " enabled",
            'must be "enabled" or "disabled", spelled exactly so',
            id="blanks count",
        ),
        pytest.param(
            "audience",
            "a b",
            "must be one audience of at most 512 printable characters, no whitespace",
            id="blank inside",
        ),
        pytest.param(
            "audience",
            "a\u200bb",
            "must be one audience of at most 512 printable characters, no whitespace",
            id="zero width",
        ),
        pytest.param(
            "expiration-seconds",
            "1h",
            "must be an integer number of seconds, such as 3600",
            id="1h",
        ),
        pytest.param(
            "expiration-seconds",
            "",
            "must be an integer number of seconds, such as 3600",
            id="empty",
        ),
        pytest.param(
            "expiration-seconds",
            "-1",
            "must be an integer number of seconds, such as 3600",
            id="sign",
        ),
        pytest.param(
            "expiration-seconds",
            "1e3",
            "must be an integer number of seconds, such as 3600",
            id="1e3",
        ),
        pytest.param(
            "expiration-seconds",
            " 3600",
            "must be an integer number of seconds, such as 3600",
            id="blank",
        ),
        pytest.param(
            "expiration-seconds",
            "٣٦٠٠",
            "must be an integer number of seconds, such as 3600",
            id="arabic digits",
        ),
        pytest.param("mount-path", "relative", PATH_PROBLEM, id="relative"),
        pytest.param("mount-path", "///", PATH_PROBLEM, id="only slashes"),
        pytest.param("mount-path", "/a/../b", PATH_PROBLEM, id="dots"),
        pytest.param("mount-path", "/a:b", PATH_PROBLEM, id="colon"),
        pytest.param("mount-path", "/", PATH_PROBLEM, id="the root"),
        *(
            pytest.param("mount-path", path, SYSTEM_PROBLEM, id=path)
            for path in (
                *("/etc", "/etc/", "/usr", "/proc", "/dev", "/sys", "/bin", "/sbin", "/lib"),
                *("/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec"),
                *("/proc/1", "/sys/fs/boundtoken"),
            )
        ),
        pytest.param("mount-path", "/.", PATH_PROBLEM, id="the root by a dot"),
        pytest.param("mount-path", "//a", PATH_PROBLEM, id="two slashes first"),
        pytest.param("mount-path", "/a//b", PATH_PROBLEM, id="two slashes"),
        pytest.param("mount-path", "/a//", PATH_PROBLEM, id="two slashes last"),
        pytest.param("mount-path", "/a/./b", PATH_PROBLEM, id="a dot"),
        pytest.param("mount-path", "/a/.", PATH_PROBLEM, id="a dot last"),
        pytest.param("mount-path", "/" + "é" * 2048, PATH_PROBLEM, id="longer than PATH_MAX"),
        pytest.param(
            "mount-path",
            names.TOKENS_PATH + "/",
            "must be another path: boundtoken.dev/tokens are mounted there",
            id="taken",
        ),
        pytest.param(
            "tokens",
            "vault",
            'must be file=audience[;seconds], separated by commas, and "vault" is not',
            id="no audience",
        ),
        pytest.param(
            "tokens",
            "vault=",
            'must be file=audience[;seconds], separated by commas, and "vault=" is not',
            id="empty audience",
        ),
        pytest.param(
            "tokens", "a=x,a=y", 'must name each file once, and "a" is duplicated', id="twice"
        ),
        pytest.param(
            "tokens",
            "..data=x",
            'must have file names of letters, digits, "." "_" "-", not beginning with ".."; "..data" is not',
            id="the kubelet's own name",
        ),
        pytest.param(
            "tokens",
            "a/b=x",
            'must have file names of letters, digits, "." "_" "-", not beginning with ".."; "a/b" is not',
            id="a folder",
        ),
        pytest.param(
            "tokens",
            "a=x;1h",
            "a: must be an integer number of seconds, such as 3600",
            id="seconds of a token",
        ),
    ],
)
def test_a_bad_value_is_ignored_and_says_what_would_be_right(
    name: str, value: str, problem: str
) -> None:
    resolution = policy.resolve(a_namespace_policy(), {names.DOMAIN + name: value})
    assert resolution.policy == TokenPolicy()
    assert [
        (fault.layer, fault.annotation, fault.value, fault.problem) for fault in resolution.faults
    ] == [("pod", names.DOMAIN + name, value, f"ignored, {problem}")]


def test_a_fault_in_inject_leaves_automount_enabled_where_it_is() -> None:
    """Without it the pod would lose the token that its author wanted to keep."""
    namespace = a_namespace_policy(automount="disabled")
    resolution = resolution_of(namespace, inject="disable", automount="enabled")
    assert resolution.policy == TokenPolicy()
    assert fault_texts(resolution)[0].endswith("spelled exactly so")


def test_a_fault_in_inject_takes_automount_disabled_of_its_layer_with_it() -> None:
    """`inject=true automount=disabled` on a namespace took the token of every new pod."""
    fault = (
        'must be "enabled", "replace" or "disabled", spelled exactly so; boundtoken.dev/automount is ignored '
        "too, so that no token is lost"
    )
    namespace = a_namespace_policy(inject="true", automount="disabled")
    assert namespace.resolution.policy == TokenPolicy()
    assert fault_texts(namespace.resolution) == [
        f'boundtoken.dev/inject="true" on the namespace: ignored, {fault}'
    ]
    namespace = a_namespace_policy(inject="enabled", automount="disabled")
    resolution = resolution_of(namespace, inject="true", automount="disabled")
    assert resolution.policy == namespace.resolution.policy
    assert resolution.decided_by["automount"] == "namespace"
    assert fault_texts(resolution) == [f'boundtoken.dev/inject="true" on the pod: ignored, {fault}']


def test_the_automount_of_another_layer_stays_where_inject_has_a_fault() -> None:
    resolution = resolution_of(a_namespace_policy(automount="disabled"), inject="true")
    assert resolution.policy == TokenPolicy(automount=False)
    assert resolution_of(a_namespace_policy(inject="true"), automount="disabled").policy == (
        TokenPolicy(automount=False)
    )


def test_the_longest_fault_in_inject_is_told_whole() -> None:
    resolution = resolution_of(a_namespace_policy(), inject="x" * 300, automount="disabled")
    assert fault_texts(resolution)[0].endswith("so that no token is lost")


@pytest.mark.parametrize(
    ("text", "used", "remark"),
    [
        ("0", 600, "600 is used: 600 is the shortest that Kubernetes accepts"),
        ("599", 600, "600 is used: 600 is the shortest that Kubernetes accepts"),
        ("600", 600, "leaves the kubelet little time to rotate the token; 900 or more is safe"),
        ("900", 900, None),
        ("0900", 900, None),
        ("3606", 3606, None),
        (
            "3607",
            3600,
            "3600 is used: the API server makes a token of 3607 seconds valid for a year",
        ),
        ("3608", 3608, None),
        ("4294967296", 4294967296, None),
        ("4294967297", 4294967296, "4294967296 is used: the maximum here is 4294967296 seconds"),
        ("9" * 5000, 4294967296, "4294967296 is used: the maximum here is 4294967296 seconds"),
    ],
)
def test_seconds_out_of_range_become_the_nearest_that_is_allowed(
    text: str, used: int, remark: str | None
) -> None:
    resolution = resolution_of(a_namespace_policy(), expiration_seconds=text)
    assert resolution.policy.expiration_seconds == used
    assert [fault.problem for fault in resolution.faults] == ([] if remark is None else [remark])


@pytest.mark.parametrize(
    ("maximum", "requested", "used"),
    [
        ("1800", "3600", 1800),
        ("3607", "7200", 3600),
        ("600", "86400", 600),
        ("7200", "3607", 3600),
        ("3600", "3607", 3600),
    ],
)
def test_a_maximum_holds_whoever_asks(maximum: str, requested: str, used: int) -> None:
    assert (
        resolution_of(
            a_namespace_policy(max_expiration_seconds=maximum), expiration_seconds=requested
        ).policy.expiration_seconds
        == used
    )
    own = a_namespace_policy(max_expiration_seconds=maximum, expiration_seconds=requested)
    assert own.resolution.policy.expiration_seconds == used
    assert len(own.resolution.faults) >= 1


def test_a_maximum_below_the_default_is_no_fault_of_anybody() -> None:
    namespace = a_namespace_policy(max_expiration_seconds="900")
    assert (namespace.resolution.policy.expiration_seconds, namespace.resolution.faults) == (
        900,
        (),
    )


def test_a_maximum_holds_for_further_tokens_and_they_default_to_the_pods_seconds() -> None:
    resolution = resolution_of(
        a_namespace_policy(max_expiration_seconds="1800", tokens="a=x,b=y;9999"),
        expiration_seconds="1200",
    )
    assert resolution.policy.tokens == (Token("a", "x", 1200), Token("b", "y", 1800))


def test_an_audience_outside_the_list_counts_as_a_bad_value_from_wherever() -> None:
    cluster = ClusterPolicy(TokenPolicy(audience="default"))
    namespace = a_namespace_policy(cluster, allowed_audiences="vault, aws", audience="other")
    assert namespace.resolution.policy.audience == ""
    assert resolution_of(namespace, audience="vault").policy.audience == "vault"
    assert resolution_of(namespace, audience="").policy.audience == ""
    assert resolution_of(namespace, tokens="f=elsewhere").policy.tokens == ()
    assert fault_texts(resolution_of(namespace, audience="elsewhere"))[-1] == (
        'boundtoken.dev/audience="elsewhere" on the pod: ignored, must be one of the allowed audiences: "aws", "vault"'
    )


def test_a_default_audience_that_the_namespace_does_not_allow_is_told() -> None:
    namespace = a_namespace_policy(
        ClusterPolicy(TokenPolicy(audience="default")), allowed_audiences="vault"
    )
    assert fault_texts(namespace.resolution) == [
        'boundtoken.dev/audience="default" on the defaults: is not one of the allowed audiences; the API server\'s own is used'
    ]


def test_locks_combine_to_the_stricter() -> None:
    cluster = ClusterPolicy(locks=Locks(1800, frozenset({"a", "b"}), pod_overrides=False))
    namespace = a_namespace_policy(
        cluster, max_expiration_seconds="7200", allowed_audiences="b,c", pod_overrides="allowed"
    )
    assert namespace.locks == Locks(1800, frozenset({"b"}), pod_overrides=False)


def test_a_maximum_below_what_kubernetes_accepts_is_a_bad_value() -> None:
    namespace = a_namespace_policy(max_expiration_seconds="599")
    assert namespace.locks.max_expiration_seconds == names.MAX_EXPIRATION_SECONDS_LIMIT
    assert fault_texts(namespace.resolution) == [
        'boundtoken.dev/max-expiration-seconds="599" on the namespace: ignored, must be 600 or more, '
        "the shortest that Kubernetes accepts"
    ]


@pytest.mark.parametrize(
    ("namespace", "pod", "want"),
    [
        pytest.param({"expiration_seconds": "3600"}, {"expiration_seconds": "1800"}, {"expiration_seconds": 1800}, id="shorter"),
        pytest.param({}, {"automount": "disabled"}, {"automount": False}, id="no automount"),
        pytest.param({}, {"inject": "enabled"}, {"inject": "enabled"}, id="inject shortens the automounted token"),
        pytest.param(
            {"inject": "enabled", "automount": "disabled"}, {"inject": "disabled"}, {"inject": "disabled"}, id="no token at all"
        ),
        pytest.param(
            {"inject": "enabled"}, {"automount": "disabled", "inject": "disabled"}, {"inject": "disabled", "automount": False},
            id="no token at all, by two wishes",
        ),
        pytest.param(
            {}, {"automount": "disabled", "inject": "enabled"}, {"inject": "enabled", "automount": False},
            id="a bound token instead of the automounted one",
        ),
        pytest.param({"audience": "vault"}, {"audience": "vault"}, {"audience": "vault"}, id="what holds anyway"),
        pytest.param({}, {"inject": "replace"}, {"inject": "replace"}, id="replace shortens the automounted token"),
        pytest.param({"inject": "enabled"}, {"inject": "replace"}, {"inject": "replace"}, id="replace gives fewer than enabled"),
        pytest.param(
            {"inject": "enabled", "automount": "disabled"}, {"inject": "replace"}, {"inject": "replace"},
            id="replace gives fewer than enabled, without automount too",
        ),
        pytest.param(
            {"inject": "replace", "automount": "disabled"}, {"inject": "disabled"}, {"inject": "disabled"},
            id="no token instead of a replaced one",
        ),
        pytest.param({"tokens": "a=x"}, {"tokens": "a=x"}, {"tokens": (Token("a", "x", 3600),)}, id="the same tokens"),
    ],
)  # fmt: skip
def test_a_pod_may_tighten_where_overrides_are_denied(
    namespace: dict[str, str], pod: dict[str, str], want: dict[str, Any]
) -> None:
    resolution = resolution_of(a_namespace_policy(pod_overrides="denied", **namespace), **pod)
    assert {name: getattr(resolution.policy, name) for name in want} == want
    assert resolution.faults == ()


@pytest.mark.parametrize(
    ("namespace", "pod"),
    [
        pytest.param({}, {"expiration_seconds": "7200"}, id="longer"),
        pytest.param({}, {"expiration_seconds": "3601"}, id="a second longer"),
        pytest.param({"automount": "disabled"}, {"automount": "enabled"}, id="automount back"),
        pytest.param({"inject": "enabled"}, {"inject": "disabled"}, id="the year-long token back"),
        pytest.param(
            {"automount": "disabled"}, {"inject": "enabled"}, id="a token where there is none"
        ),
        pytest.param(
            {"automount": "disabled"},
            {"inject": "replace"},
            id="the token that automount takes away",
        ),
        pytest.param(
            {"inject": "replace"}, {"inject": "enabled"}, id="a token where the account opted out"
        ),
        pytest.param(
            {"inject": "replace"}, {"inject": "disabled"}, id="the year back, by disabled"
        ),
        pytest.param({}, {"audience": "vault"}, id="another audience"),
        pytest.param({}, {"mount_path": "/bound"}, id="another path"),
        pytest.param({}, {"tokens": "a=x"}, id="further tokens"),
        pytest.param({}, {"skip_containers": "app"}, id="skipping"),
    ],
)
def test_everything_else_is_a_bad_value_there(
    namespace: dict[str, str], pod: dict[str, str]
) -> None:
    layer = a_namespace_policy(pod_overrides="denied", **namespace)
    resolution = resolution_of(layer, **pod)
    assert resolution.policy == layer.resolution.policy
    assert [fault.problem for fault in resolution.faults] == [
        "ignored, this namespace does not let pods change it (boundtoken.dev/pod-overrides=denied)"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("injct", "ignored, there is no such annotation; did you mean boundtoken.dev/inject?"),
        ("Audience", "ignored, there is no such annotation; did you mean boundtoken.dev/audience?"),
        ("zzz", "ignored, there is no such annotation"),
        ("pod-overrides", "ignored, it belongs on namespaces only"),
    ],
)
def test_a_name_that_does_not_belong_on_a_pod_is_a_fault(name: str, problem: str) -> None:
    assert [
        fault.problem
        for fault in policy.resolve(a_namespace_policy(), {names.DOMAIN + name: "x"}).faults
    ] == [problem]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("skip_containers", "ignored, it belongs on pods only"),
        ("status", "ignored, it is written by boundtoken and belongs on pods"),
        (
            "max_expiration_secnds",
            "ignored, there is no such annotation; did you mean boundtoken.dev/max-expiration-seconds?",
        ),
        ("enforce", 'counts as "strict", must be "off", "bound" or "strict", spelled exactly so'),
        ("warn", 'ignored, must be "off", "bound" or "strict", spelled exactly so'),
        ("audit_version", 'latest is used, must be "v1" or "latest"'),
    ],
)
def test_a_name_that_does_not_belong_on_a_namespace_is_a_fault(name: str, problem: str) -> None:
    assert [fault.problem for fault in a_namespace_policy(**{name: "x"}).resolution.faults] == [
        problem
    ]


def test_a_fault_is_short_and_has_no_control_characters_whatever_was_written() -> None:
    fault = policy.resolve(
        a_namespace_policy(), {names.DOMAIN + "x\n" + "y" * 300: "\x00\n" * 400}
    ).faults[0]
    assert len(str(fault)) <= names.MAX_WARNING_CHARS
    assert str(fault).isprintable()


@pytest.mark.parametrize(
    ("text", "items"), [("", []), ("a", ["a"]), (" a , b ", ["a", "b"]), ("a,,b,", ["a", "b"])]
)
def test_lists_trim_blanks_and_leave_empty_items_out(text: str, items: list[str]) -> None:
    assert split_list(text) == items


def test_what_we_write_ourselves_does_not_count_towards_the_limit_of_annotations() -> None:
    """A first call writes a short status over a long one: the second would read what the first did
    not.
    """
    namespace = policy.resolve_namespace(ClusterPolicy(), {names.INJECT: "enabled"})
    annotations = {names.AUTOMOUNT: "disabled", names.STATUS: "x" * names.MAX_ANNOTATIONS_CHARS}
    first = policy.resolve(namespace, annotations)
    assert first == policy.resolve(namespace, {**annotations, names.STATUS: "injected"})
    assert not first.policy.automount
