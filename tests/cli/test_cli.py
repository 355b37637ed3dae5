"""The command as people use it: results on standard output, all else on standard error, exit codes
that mean one thing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders import Json
from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import boundtoken
from webhook import __version__, cluster_config, options
from webhook.cli import certs, main
from webhook.cli.certs import Files
from webhook.cli.token import arguments as token_arguments
from webhook.core.limits import Locks
from webhook.core.policy import ClusterPolicy, Exemptions
from webhook.errors import BadInput, NotFound
from webhook.options import Address
from webhook.pki import authority
from webhook.pki.lifecycle import Lifetimes
from webhook.pki.pem import KeyPair, read_certificates
from webhook.pki.store import Store

CONFIGURATION = ROOT / "manifests/35-configmap.yaml"
HEAD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
MAX_COLUMNS = 100
TLS = {"tls_cert": "a", "tls_key": "b"}


def commands(of: argparse.ArgumentParser, *path: str) -> Iterator[tuple[list[str], list[str]]]:
    """Every command and group of the parser, each with the names of its commands."""
    groups = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    yield [*path], [name for group in groups for name in group.choices]
    for group in groups:
        for name, command in group.choices.items():
            yield from commands(command, *path, name)


COMMANDS = list(commands(main.parser()))


def test_the_help_of_each_group_shows_the_examples_of_all_its_commands() -> None:
    groups = {path[0]: set(names) for path, names in COMMANDS if path and names}
    shown = {group: set(names) for group, names in main.GROUPS.items()}
    assert {**shown, "token": set(token_arguments.EXAMPLES)} == groups


@pytest.mark.parametrize("command", [path for path, _ in COMMANDS], ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    result = boundtoken(*command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "usage: boundtoken" in result.stdout
    assert not command or "examples:" in result.stdout
    own = " ".join(["  boundtoken", *command])
    examples = [
        line
        for line in result.stdout.partition("examples:")[2].splitlines()
        if line.startswith("  boundtoken")
    ]
    assert [line for line in examples if not line.startswith(own)] == []
    assert [line for line in result.stdout.splitlines() if len(line) > MAX_COLUMNS] == []


def test_the_default_of_days_is_the_one_that_counts_as_not_given() -> None:
    assert main.parser().parse_args(["certs", "init"]).days == certs.DAYS
    assert f"(default {certs.DAYS})" in boundtoken("certs", "init", "--help").stdout


@pytest.mark.parametrize("command", [path for path, names in COMMANDS if names], ids=" ".join)
def test_a_group_of_commands_alone_shows_its_help(command: list[str]) -> None:
    result = boundtoken(*command)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == boundtoken(*command, "--help").stdout


def test_the_version_is_printed() -> None:
    assert boundtoken("--version").stdout == f"boundtoken {__version__}\n"


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"response": {"patch": "!"}}', '{"response": {"patch": "eyJ"}}']
)
def test_make_patch_says_what_it_needs(text: str) -> None:
    command = [sys.executable, "-m", "tests.demo", "patch"]
    result = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(
        "make patch: standard input must be the answer of /mutate, and is "
    )


def test_make_patch_ends_with_who_reads_it() -> None:
    command = [sys.executable, "-m", "tests.demo", "patch"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b'{"response": {}}')
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "no-such-command",
            "boundtoken: error: argument COMMAND: invalid choice: 'no-such-command'",
        ),
        (
            "certs no-such-command",
            "boundtoken certs: error: argument COMMAND: invalid choice: 'no-such-command'",
        ),
        ("serve --nonsense", "boundtoken serve: error: unrecognized arguments: --nonsense"),
        ("version --out json", "boundtoken version: error: unrecognized arguments: --out json"),
        (
            "token request a --aud b",
            "boundtoken token request: error: unrecognized arguments: --aud b",
        ),
        ("certs init --days 0", "boundtoken: --days=0: must be from 1 to 3650"),
        ("certs init --renew", "boundtoken: --renew, --host and --days go with --out"),
        ("certs init --host a_b", "boundtoken: --host='a_b': must be a DNS name in ASCII"),
        ("certs init --host 10.0.0.0/8", "boundtoken: --host='10.0.0.0/8': must be a DNS name"),
        (
            "certs init --host \xfc.example",
            "boundtoken: --host='\\xfc.example': must be a DNS name",
        ),
        ("certs show --namespace ../..", "boundtoken: --namespace='../..': must be the name of a"),
        ("export policies --namespace UPPER", "boundtoken: --namespace='UPPER': must be the name"),
        ("certs rotate --timeout nan", "boundtoken: --timeout='nan': must be seconds from 0"),
        ("certs rotate --timeout -1", "boundtoken: --timeout='-1': must be seconds from 0"),
        (
            "serve --standalone . --listen \udcff:1",
            "boundtoken: --listen='\\udcff:1': must be a DNS",
        ),
        (f"serve --standalone . --listen a:{'9' * 5000}", "boundtoken: --listen='a:9999"),
        (
            "config check /missing",
            "boundtoken: /missing: must be a readable file: No such file or directory",
        ),
    ],
)
def test_wrong_use_is_2_and_goes_to_standard_error(arguments: str, message: str) -> None:
    result = boundtoken(*arguments.split())
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(message)


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        pytest.param(
            "version --client > /dev/full", 3, "No space left on device", id="a full disk"
        ),
        pytest.param("config schema > /dev/full", 3, "No space left on device", id="much output"),
        pytest.param("config check - <&-", 2, "standard input is closed", id="no standard input"),
        pytest.param("export policies --validating >&-", 0, "", id="no standard output"),
        pytest.param("config check /missing 2>&-", 2, "", id="no standard error"),
        pytest.param("config check --missing 2>&-", 2, "", id="no standard error for the parser"),
        pytest.param("config check /missing 2>/dev/full", 2, "", id="full standard error"),
        pytest.param("version --client >/dev/full 2>/dev/full", 3, "", id="everything full"),
    ],
)
def test_what_a_shell_does_to_the_streams_is_one_line_at_most(
    command: str, code: int, message: str
) -> None:
    result = subprocess.run(
        ["sh", "-c", f'exec "$0" {command}', BOUNDTOKEN],
        capture_output=True,
        text=True,
        check=False,
    )
    expected = f"boundtoken: {message}\n" if message else ""
    assert (result.returncode, result.stderr) == (code, expected)
    assert not (code and result.stdout)


def test_every_fault_of_the_flags_is_printed_at_once() -> None:
    result = boundtoken("serve", "--listen", "here", "--drain-seconds", "-1", "--tls-cert", "a")
    assert result.stderr.splitlines() == [
        "boundtoken: --listen='here': must be HOST:PORT, such as 127.0.0.1:10250",
        "boundtoken: --drain-seconds='-1': must be seconds from 0 to 3600",
        "boundtoken: --tls-cert and --tls-key must be given together",
    ]


@pytest.mark.parametrize("text", ["0.5", "-1", "3601", "1m", "nan", "off", ""])
def test_an_interval_of_the_self_probe_is_none_or_a_second_at_least(text: str) -> None:
    assert options.resolve({"self_probe_interval": "0"}, {}).self_probe_interval == 0
    assert options.resolve({"self_probe_interval": "1"}, {}).self_probe_interval == 1
    with pytest.raises(BadInput) as problem:
        options.resolve({"self_probe_interval": text}, {})
    assert "must be seconds from 1 to 3600, or 0 for none" in str(problem.value)


def test_outside_of_a_cluster_serve_says_what_to_do() -> None:
    result = boundtoken("serve", "--tls-cert", "a", "--tls-key", "b")
    assert result.returncode == 3
    assert "not in a cluster; give --kubeconfig FILE" in result.stderr


def test_flags_beat_variables_and_variables_beat_defaults() -> None:
    environ = {
        "BOUNDTOKEN_LISTEN": "1.2.3.4:1",
        "BOUNDTOKEN_LOG_LEVEL": "debug",
        "BOUNDTOKEN_PORT": "tcp://10.0.0.1:443",
    }
    config = options.resolve({**TLS, "log_level": "error"}, environ)
    assert (config.listen, config.log_level) == (Address(host="1.2.3.4", port=1), "error")
    assert config.plain_listen == Address(host="0.0.0.0", port=8080)
    assert str(options.resolve({**TLS, "listen": "[::1]:5"}, {}).listen) == "[::1]:5"


def test_standalone_listens_on_loopback() -> None:
    config = options.resolve({"standalone": [Path("x")]}, {})
    assert (config.listen.host, config.plain_listen.host) == ("127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        (
            {**TLS, "standalone": ["x"]},
            "--standalone makes its own certificate: leave out --tls-cert and --tls-key",
        ),
        (
            {"standalone": ["x"], "kubeconfig": "k"},
            "--standalone needs no cluster: leave out --kubeconfig",
        ),
        (
            {"standalone": ["x"], "legacy_tokens": "on"},
            "--standalone has no Secrets: leave out --legacy-tokens",
        ),
        ({**TLS, "ca_out": "c"}, "--ca-out needs --standalone"),
        ({"tls_cert": "a"}, "--tls-cert and --tls-key must be given together"),
        (
            {"webhook_configurations": ","},
            "--webhook-configurations=',': must be names, separated by commas",
        ),
        (
            {"leaf_duration": "200d"},
            "--leaf-duration must be at most a third of --ca-duration, so that no CA expires before its leaves",
        ),
        (
            {"ca_duration": "1y"},
            "--ca-duration='1y': must be an integer with a unit s, m, h or d, such as 7d or 12h",
        ),
    ],
)
def test_flags_that_exclude_each_other_are_refused(flags: dict[str, object], fault: str) -> None:
    with pytest.raises(BadInput) as caught:
        options.resolve(flags, {})
    assert caught.value.faults == (fault,)


def test_a_good_configuration_is_fine_and_a_bad_one_shows_every_fault(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(yaml.safe_load(CONFIGURATION.read_text())["data"]["config.yaml"])
    assert boundtoken("config", "check", str(good)).returncode == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        HEAD + "defaults: {inject: on, audience: 'a b', mountPath: x, expirationSeconds: 5}\n"
        "locks: {maxExpirationSeconds: 1h, allowedAudiences: vault, podOverride: denied, enforceFloor: off}\n"
        "namespaces: [a]\ntokenRequests: {mode: 'yes', maxExpirationSeconds: 3607}\nlegacySecrets: {mode: off}\n"
        "exemptions: {serviceAccounts: [ci]}\nextra: 1\n"
    )
    result = boundtoken("config", "check", str(bad))
    assert (result.returncode, result.stderr) == (1, "")
    assert [line.removeprefix(f"{bad}: ") for line in result.stdout.splitlines()] == [
        "extra: unknown field; known are defaults, locks, namespaces, exemptions, tokenRequests, legacySecrets, "
        "apiAudiences",
        "defaults.inject: must be a string (YAML reads an unquoted on, off, yes or no as true or false: quote it); it is True",
        'defaults.audience: must be one audience of at most 512 printable characters, no whitespace; it is "a b"',
        "defaults.expirationSeconds: must be an integer number of seconds from 600 to 4294967296; it is 5",
        'defaults.mountPath: must be an absolute path of at most 4095 bytes without "//", ".", ".." and ":", and not "/"; it is "x"',
        "locks.podOverride: unknown field; did you mean podOverrides?",
        'locks.maxExpirationSeconds: must be null or an integer number of seconds, 600 or more; it is "1h"',
        'locks.allowedAudiences: must be a list of strings, none of them empty; it is "vault"',
        "locks.enforceFloor: must be off, bound or strict (YAML reads an unquoted on, off, yes or no as true or false: quote "
        "it); it is False",
        "namespaces: must be a mapping of excluded",
        'exemptions.serviceAccounts: must be a list of namespace/name (in full, as there are no globs), and "ci" is not; it is [\'ci\']',
        'tokenRequests.mode: must be off, warn or enforce; it is "yes"',
        "tokenRequests.maxExpirationSeconds: must not be 3607: the API server would issue tokens valid for one year; use 3600; it is 3607",
        "legacySecrets.mode: must be off, warn or enforce (YAML reads an unquoted on, off, yes or no as true or false: quote "
        "it); it is False",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            HEAD + "locks: {enforceFloor: bound, enforceFloorMaxExpirationSeconds: 1800}\n",
            "defaults.expirationSeconds: must be at most 1800, the maximum of locks.enforceFloor, or every injected pod would "
            "be refused; it is 3600",
        ),
        (
            HEAD + "locks: {enforceFloor: strict}\ndefaults: {expirationSeconds: 7200}\n",
            "defaults.expirationSeconds: must be at most 3600, the maximum of locks.enforceFloor, or every injected pod would "
            "be refused; it is 7200",
        ),
        (
            HEAD + 'locks: {allowedAudiences: ["", vault]}\n',
            "locks.allowedAudiences: must be a list of strings, none of them empty; it is ['', 'vault']",
        ),
        (
            HEAD + "namespaces: {excluded: [kube-*, Prod]}\n",
            'namespaces.excluded: must be a list of names of namespaces (in full, as there are no globs), and "kube-*" is not; '
            "it is ['kube-*', 'Prod']",
        ),
        (
            HEAD + "exemptions: {namespaces: [team-*]}\n",
            'exemptions.namespaces: must be a list of names of namespaces (in full, as there are no globs), and "team-*" is not; '
            "it is ['team-*']",
        ),
        (
            HEAD + "exemptions: {runtimeClasses: [Kata]}\n",
            'exemptions.runtimeClasses: must be a list of names of runtime classes (in full, as there are no globs), and "Kata" is not; '
            "it is ['Kata']",
        ),
        (
            HEAD + "exemptions: {serviceAccounts: [shop/*]}\n",
            'exemptions.serviceAccounts: must be a list of namespace/name (in full, as there are no globs), and "shop/*" is not; '
            "it is ['shop/*']",
        ),
        (
            HEAD + "exemptions: {usernames: [alice smith]}\n",
            "exemptions.usernames: items must have printable characters, no whitespace, at most 512; \"alice smith\" does not; it is ['alice smith']",
        ),
        ("", "must be a mapping with apiVersion: boundtoken.dev/v1alpha1 and kind: Configuration"),
        ("a: [", "line 2, column 1: must be YAML: did not find expected node content"),
        (
            HEAD + "kind: Configuration\n",
            'line 3, column 1: must be YAML: key "kind" is duplicated',
        ),
        (HEAD + "1: x\n", "line 3, column 1: must be YAML: key 1 must be a string"),
        (
            HEAD + "defaults: {audience: x}\nlocks: {allowedAudiences: [y]}\n",
            'defaults.audience: must be one of locks.allowedAudiences, and "x" is not',
        ),
        (
            HEAD + "defaults: {expirationSeconds: 3607}\n",
            "defaults.expirationSeconds: must not be 3607: the API server would issue tokens valid for one year; use 3600; it is 3607",
        ),
    ],
)
def test_a_configuration_that_cannot_be_read_names_the_place(text: str, fault: str) -> None:
    with pytest.raises(BadInput) as caught:
        cluster_config.parse(text)
    assert caught.value.faults == (fault,)


def test_the_configuration_sets_layers_and_locks() -> None:
    layer = cluster_config.parse(
        HEAD
        + "defaults: {inject: enabled, expirationSeconds: 1200}\nlocks: {maxExpirationSeconds: 900, podOverrides: denied}\n"
        "namespaces: {excluded: [legacy]}\napiAudiences: [api]\n"
    ).policy
    assert (layer.defaults.inject, layer.defaults.expiration_seconds) == ("enabled", 1200)
    replacing = cluster_config.parse(HEAD + "defaults: {inject: replace}\n").policy
    assert replacing.defaults.inject == "replace"
    assert (layer.locks.max_expiration_seconds, layer.locks.pod_overrides) == (900, False)
    assert layer.excluded == {"legacy", "kube-system", "kube-public", "kube-node-lease"}
    assert layer.api_audiences == ("api",)
    known = cluster_config.parse(
        HEAD + "apiAudiences: [other, api]\n", api_audiences=("api", "own")
    ).policy.api_audiences
    assert known == ("other", "api", "own")  # what we know of stays known, or a year would pass


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("namespaces", "namespaces", "shop"),
        ("usernames", "usernames", "alice"),
        ("serviceAccounts", "service_accounts", "shop/ci"),
        ("runtimeClasses", "runtime_classes", "kata"),
    ],
)
def test_each_key_of_the_exemptions_exempts_what_it_says(key: str, field: str, value: str) -> None:
    layer = cluster_config.parse(HEAD + f"exemptions: {{{key}: [{value}]}}\n").policy
    assert layer.exemptions == Exemptions(**{field: frozenset({value})})


KEYS = [
    (group, *key)
    for group, fields in cluster_config.FIELDS.items()
    for key in ([(key,) for key in fields] if isinstance(fields, dict) else [()])
]
VALUES = ["enabled", "disabled", "denied", "strict", "warn", "x", "/x", 900, ["x"], ["x/y"]]
"""Of each key at least one is valid and not the default."""


def layer_of(document: Any) -> ClusterPolicy:
    try:
        return cluster_config.parse(HEAD + yaml.safe_dump(document)).policy
    except BadInput:
        return ClusterPolicy()


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_every_key_of_the_configuration_changes_the_policy(key: tuple[str, ...]) -> None:
    group, *rest = key
    layers = [layer_of({group: {rest[0]: value} if rest else value}) for value in VALUES]
    assert [layer for layer in layers if layer != ClusterPolicy()], "it is read and lands nowhere"


def test_every_key_of_locks_and_requests_lands_where_it_belongs() -> None:
    layer = cluster_config.parse(
        HEAD
        + "locks: {maxExpirationSeconds: 900, allowedAudiences: [vault], podOverrides: denied, enforceFloor: strict, "
        "enforceFloorMaxExpirationSeconds: 7200}\ntokenRequests: {mode: warn, maxExpirationSeconds: 1200}\n"
        "legacySecrets: {mode: enforce}\n"
    ).policy
    assert layer.locks == Locks(
        max_expiration_seconds=900, allowed_audiences=frozenset({"vault"}), pod_overrides=False
    )
    assert (layer.enforce_floor, layer.enforce_floor_max_expiration_seconds) == ("strict", 7200)
    assert (layer.token_requests, layer.token_requests_max_expiration_seconds) == ("warn", 1200)
    assert layer.legacy_secrets == "enforce"


def test_export_prints_what_the_manifests_hold() -> None:
    result = boundtoken("export", "policies", "--validating")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (ROOT / "manifests/85-enforcement.yaml").read_text()


def test_export_writes_the_settings_of_a_configuration_where_one_is_given(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(HEAD + "locks: {enforceFloor: bound}\nnamespaces: {excluded: [cni]}\n")
    result = boundtoken("export", "policies", "--config", str(file), "--namespace", "elsewhere")
    bindings = [
        document
        for document in yaml.safe_load_all(result.stdout)
        if document["kind"] == "ValidatingAdmissionPolicyBinding"
    ]
    for binding in bindings:
        assert binding["metadata"]["annotations"]["boundtoken.dev/enforce-floor"] == "bound"
        excluded = binding["metadata"]["annotations"]["boundtoken.dev/excluded-namespaces"]
        assert excluded == "cni elsewhere kube-node-lease kube-public kube-system"
    assert len(bindings) == 3
    file.write_text(HEAD + "locks: {enforceFloor: bond}\n")
    bad = boundtoken("export", "policies", "--config", str(file))
    assert (
        bad.returncode,
        bad.stderr.startswith(f"boundtoken: {file}: locks.enforceFloor: must be"),
    ) == (2, True)


def test_the_schema_names_every_key_and_forbids_others() -> None:
    schema = json.loads(boundtoken("config", "schema").stdout)
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {"apiVersion", "kind", *cluster_config.FIELDS}
    assert schema["properties"]["locks"]["properties"]["podOverrides"] == {
        "description": "denied: pods may only tighten what their namespace says.",
        "enum": ["allowed", "denied"],
    }


def test_certs_init_writes_a_pair_that_only_its_owner_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "dev"
    result = boundtoken("certs", "init", "--out", str(folder), "--host", "example.test")
    assert result.stdout.splitlines() == [
        f"{folder}/{name} created" for name in ("ca.crt", "tls.crt", "tls.key")
    ]
    assert (folder / "tls.key").stat().st_mode & 0o777 == 0o600
    (leaf,) = read_certificates((folder / "tls.crt").read_bytes())
    hosts = {"example.test", "localhost", "127.0.0.1", "boundtoken.boundtoken-system.svc"}
    assert hosts <= set(leaf.hosts)
    kept = (folder / "tls.crt").read_bytes()
    assert "kept" in boundtoken("certs", "init", "--out", str(folder)).stdout
    assert (folder / "tls.crt").read_bytes() == kept
    assert (
        "(dry run)"
        in boundtoken("certs", "init", "--out", str(folder), "--renew", "--dry-run").stdout
    )
    assert (folder / "tls.crt").read_bytes() == kept
    boundtoken("certs", "init", "--out", str(folder), "--renew")
    assert (folder / "tls.crt").read_bytes() != kept
    assert sorted(path.name for path in folder.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]


NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS = ["a.svc"]


@pytest.mark.parametrize(
    ("age", "hosts", "keep"),
    [
        pytest.param(0, HOSTS, True, id="fresh"),
        pytest.param(60, HOSTS, True, id="at two thirds less a bit"),
        pytest.param(62, HOSTS, False, id="in the last third"),
        pytest.param(100, HOSTS, False, id="expired"),
        pytest.param(-1, HOSTS, False, id="not yet valid"),
        pytest.param(0, [*HOSTS, "b.svc"], False, id="another name is needed"),
    ],
)
def test_which_leaf_is_kept(age: int, hosts: list[str], keep: bool) -> None:
    ca = authority.make_authority("x", NOW, timedelta(days=92))
    leaf = authority.issue(ca, HOSTS, NOW, timedelta(days=92))
    now = NOW + timedelta(days=age)
    assert certs.is_reusable(Files(ca.certificate, leaf), hosts, now) is keep


def test_a_leaf_of_another_authority_is_not_kept() -> None:
    ca, other = (authority.make_authority("x", NOW, timedelta(days=9)) for _ in range(2))
    leaf = authority.issue(ca, HOSTS, NOW, timedelta(days=9))
    assert not certs.is_reusable(Files(other.certificate, leaf), HOSTS, NOW)


CA = authority.make_authority("x", NOW, timedelta(days=9))
LEAF, OTHER_LEAF = (authority.issue(CA, HOSTS, NOW, timedelta(days=9)) for _ in range(2))


@pytest.mark.parametrize(
    ("contents", "leaf"),
    [
        pytest.param((CA.certificate.pem, LEAF.certificate.pem, LEAF.key), LEAF, id="good"),
        pytest.param((CA.certificate.pem, LEAF.certificate.pem, OTHER_LEAF.key), None, id="key"),
        pytest.param((CA.certificate.pem, b"", LEAF.key), None, id="an empty certificate"),
        pytest.param((b"garbage", LEAF.certificate.pem, LEAF.key), None, id="garbage for a CA"),
        pytest.param((CA.certificate.pem, LEAF.certificate.pem), None, id="a missing key"),
    ],
)
def test_files_that_cannot_be_read_are_as_none(
    tmp_path: Path, contents: tuple[bytes, ...], leaf: KeyPair | None
) -> None:
    for name, content in zip(certs.FILES, contents, strict=False):
        (tmp_path / name).write_bytes(content)
    expected = None if leaf is None else Files(CA.certificate, leaf)
    assert certs.read_files(tmp_path) == expected
    assert certs.read_files(tmp_path / "tls.crt") is None


def test_serving_imports_nothing_of_kubernetes() -> None:
    code = "import sys, webhook.cli.serve; print([name for name in sys.modules if name.split('.')[0] == 'kubernetes'])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


class Answers:
    """An API client that knows one object."""

    def __init__(self, body: bytes | None) -> None:
        self.body = body

    async def get(self, path: str) -> bytes:
        assert path == "/apis/apps/v1/namespaces/boundtoken-system/deployments/boundtoken"
        if self.body is None:
            raise NotFound("no", 404)
        return self.body


@pytest.mark.parametrize(
    ("container", "ca", "leaf"),
    [
        ({"args": ["serve", "--ca-duration=90d", "--drain-seconds=8"]}, 90, 7),
        ({"args": ["serve", "--ca-duration", "60d", "--leaf-duration", "2d"]}, 60, 2),
        (
            {
                "env": [
                    {"name": "BOUNDTOKEN_CA_DURATION", "value": "30d"},
                    {"name": "X", "valueFrom": {}},
                ]
            },
            30,
            7,
        ),
        ({}, 365, 7),
    ],
)
async def test_certs_commands_take_the_lifetimes_of_the_deployment(
    container: Json, ca: int, leaf: int
) -> None:
    containers = [
        {"name": "sidecar", "args": ["--ca-duration=1d"]},
        {"name": "boundtoken", **container},
    ]
    body = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}}).encode()
    client: Any = Answers(body)
    assert (
        await certs.read_deployed(Store(client, "boundtoken-system", ()))
    ).lifetimes == Lifetimes(timedelta(days=ca), timedelta(days=leaf))
    missing: Any = Answers(None)
    assert await certs.read_deployed(Store(missing, "boundtoken-system", ())) == certs.Deployed(
        is_seen=False
    )


async def test_lifetimes_that_every_replica_refuses_are_named_with_their_place() -> None:
    container = {"name": "boundtoken", "args": ["--ca-duration=1y"]}
    client: Any = Answers(
        json.dumps({"spec": {"template": {"spec": {"containers": [container]}}}}).encode()
    )
    with pytest.raises(
        BadInput,
        match=r"deployment/boundtoken: --ca-duration='1y': must be an integer with a unit s, m, h or d",
    ):
        await certs.read_deployed(Store(client, "boundtoken-system", ()))
