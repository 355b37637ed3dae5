"""Configuration files that nobody should write: refused with the place and a short text, at once,
and never a traceback.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import boundtoken
from tests.support.timing import cpu_time_below
from webhook import cluster_config, documents
from webhook.errors import BadInput

HEAD = b"apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
BOMB = (
    HEAD
    + b"a0: &a0 [x, x]\n"
    + b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 30))
)
UNKNOWN = "unknown field; known are defaults, locks, namespaces, exemptions, tokenRequests, legacySecrets, apiAudiences"

CASES = [
    pytest.param(b"defaults: {inject: !!bool x}\n", "line 3, column 20: must be YAML: a value is not a valid bool", id="no bool"),
    pytest.param(b"defaults: {inject: !!int ''}\n", "line 3, column 20: must be YAML: a value is not a valid int", id="no int"),
    pytest.param(b"defaults: {expirationSeconds: 2026-13-45}\n", "line 3, column 31: must be YAML: a value is not a valid timestamp", id="no day"),
    pytest.param(
        b"defaults: {inject: !!timestamp x}\n",
        'line 3, column 20: must be YAML: tag "tag:yaml.org,2002:timestamp" is not allowed',
        id="a tag of YAML that no configuration needs",
    ),
    pytest.param(
        b"a: !!python/object/apply:os.system [id]\n",
        'line 3, column 4: must be YAML: tag "tag:yaml.org,2002:python/object/apply:os.system" is not allowed',
        id="a tag of Python",
    ),
    pytest.param(
        b"defaults: {expirationSeconds: " + b"1:" * 1000 + b"1.5}\n",
        "line 3, column 31: must be YAML: a value is not a valid float",
        id="a sexagesimal number beyond all floats",
    ),
    pytest.param(
        b"defaults: {expirationSeconds: 0x" + b"f" * 5000 + b"}\n",
        "defaults.expirationSeconds: must be an integer number of seconds from 600 to 4294967296; it is a number of more than 40 digits",
        id="an int of 6,000 digits",
    ),
    pytest.param(
        b"apiAudiences: [0x" + b"f" * 5000 + b"]\n",
        "apiAudiences: must be a list of strings, none of them empty; it is [a number of more than 40 digits]",
        id="an int of 6,000 digits in a list",
    ),
    pytest.param(
        b'"\\ud800": x\n', "line 3, column 4: must be YAML: found invalid Unicode character escape code", id="half a character"
    ),
    pytest.param(b'"a\\eb": x\n', f'"a\\x1bb": {UNKNOWN}', id="a key with a control character"),
    pytest.param(b"x" * 1000 + b": x\n", f'"{"x" * 59}…": {UNKNOWN}', id="a key of 1,000 characters"),
    pytest.param(BOMB[len(HEAD) :], "line 3, column 5: must be YAML: anchors and aliases (& and *) are not allowed", id="aliases"),
    pytest.param(b"a: *x\n", "line 3, column 4: must be YAML: anchors and aliases (& and *) are not allowed", id="an alias"),
    pytest.param(b"<<: {a: b}\n", "line 3, column 1: must be YAML: could not determine a constructor", id="a merge"),
    pytest.param(b"a: " + b"[" * 60_000, "line 3, column 23: must be YAML: at most 20 levels are allowed", id="lists in lists"),
    pytest.param(b"- " * 30_000, "line 3, column 1: must be YAML: did not find expected key", id="items in items"),
    pytest.param(b"a: \x00\n", "must be YAML: a character in it is not allowed", id="a NUL"),
    pytest.param(b"a: \xff\n", "must be UTF-8", id="no UTF-8"),
    pytest.param(b"a: 1\n---\nb: 1\n", "must be a mapping with apiVersion: boundtoken.dev/v1alpha1 and kind: Configuration", id="two"),
    pytest.param(b"namespaces: {excluded: [" + b"shop, " * 20_000 + b"]}\n", "must have at most 65536 bytes", id="too long"),
    pytest.param(
        b"apiAudiences: [" + b"[x], " * 5000 + b"]\n",
        "apiAudiences: must be a list of strings, none of them empty; it is "
        "[['x'], ['x'], ['x'], ['x'], ['x'], ['x'], ...]",
        id="a list of thousands",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), CASES)
def test_a_file_that_nobody_should_write_is_refused_with_its_place(text: bytes, fault: str) -> None:
    with cpu_time_below(1), pytest.raises(BadInput) as caught:
        cluster_config.parse(HEAD + text)
    (told,) = caught.value.faults
    assert told.startswith(fault)
    assert len(told) <= len(fault) + 80


def test_of_many_faults_the_first_are_told_and_the_rest_is_counted() -> None:
    with cpu_time_below(2), pytest.raises(BadInput) as caught:
        cluster_config.parse(HEAD + b"".join(b"k%d: x\n" % number for number in range(6000)))
    faults = caught.value.faults
    assert len(faults) == documents.MAX_FAULTS + 1
    assert faults[0].startswith("k0: unknown field")
    assert faults[-1] == f"and {6000 - documents.MAX_FAULTS} more"


def test_without_libyaml_the_same_is_refused() -> None:
    code = """if True:
        import sys, yaml
        del yaml.CSafeLoader
        from webhook import cluster_config, documents
        assert documents._LOADER is yaml.SafeLoader
        for text in ('apiAudiences: ["\\\\ud800"]', "a: &a 1", "a: !!bool x", "a: " + "[" * 60_000, "a: !x 1", "k: 1\\nk: 2"):
            try:
                cluster_config.parse(text)
            except cluster_config.BadInput as problem:
                print(problem)"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        cwd=ROOT,
    )
    assert (result.stderr, result.stdout.splitlines()) == (
        "",
        [
            "line 1, column 16: must be YAML: surrogates are not allowed",
            "line 1, column 4: must be YAML: anchors and aliases (& and *) are not allowed",
            "line 1, column 4: must be YAML: a value is not a valid bool",
            "line 1, column 23: must be YAML: at most 20 levels are allowed",
            'line 1, column 4: must be YAML: tag "!x" is not allowed',
            'line 2, column 1: must be YAML: key "k" is duplicated',
        ],
    )


def test_plain_tags_and_quoted_strings_are_fine() -> None:
    assert cluster_config.parse(
        HEAD + b'apiAudiences: [!!str 5, "a", ! b]\n'
    ).policy.api_audiences == ("5", "a", "b")


@pytest.mark.parametrize(
    "text", [case.values[0] for case in CASES], ids=[case.id for case in CASES]
)
def test_config_check_says_it_and_exits_with_1(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(HEAD + text)
    result = boundtoken("config", "check", str(file))
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith(f"{file}: ")
    assert len(result.stdout) < 1000


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, must in (
        (tmp_path / "pipe", "must be a regular file, and is a pipe or a device"),
        (tmp_path, "must be a readable file: Is a directory"),
        ("/dev/zero", "must be a regular file, and is a pipe or a device"),
        (tmp_path / "missing", "must be a readable file: No such file or directory"),
    ):
        result = boundtoken("config", "check", str(path))
        assert (result.returncode, result.stdout, result.stderr) == (
            2,
            "",
            f"boundtoken: {path}: {must}\n",
        )


def test_standard_input_is_read_as_far_as_a_configuration_may_be_long() -> None:
    command = [str(BOUNDTOKEN), "config", "check", "-"]
    with Path("/dev/zero").open("rb") as endless:
        result = subprocess.run(
            command, stdin=endless, capture_output=True, text=True, check=False, timeout=20
        )
    assert (result.returncode, result.stdout) == (
        1,
        "standard input: must have at most 65536 bytes\n",
    )


BAD = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\nlocks: {maxExpirationSecond: 60}\n"
GOOD = BAD.replace("{maxExpirationSecond: 60}", "{enforceFloor: bound}")
OURS = "{app.kubernetes.io/name: boundtoken, app.kubernetes.io/component: configuration}"
UNKNOWN_LOCK = "locks.maxExpirationSecond: unknown field; did you mean maxExpirationSeconds?"


def a_config_map(text: str, name: str = "boundtoken", labels: str = OURS) -> str:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    metadata = f"metadata: {{name: {name}, labels: {labels}}}\n"
    return f"apiVersion: v1\nkind: ConfigMap\n{metadata}data:\n  config.yaml: |\n{lines}"


def checked(tmp_path: Path, text: str) -> tuple[int, str]:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    result = boundtoken("config", "check", str(file))
    assert result.stderr == ""
    return result.returncode, result.stdout.replace(f"{file}: ", "")


def test_the_shipped_config_map_is_checked_as_its_own_header_says() -> None:
    file = ROOT / "manifests/35-configmap.yaml"
    result = boundtoken("config", "check", str(file))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(
        f'{file}: configmap/boundtoken data["config.yaml"]: valid (hash '
    )


@pytest.mark.parametrize(
    ("default", "lock", "warning"),
    [
        (
            7200,
            3600,
            "7200 has no effect, because locks.maxExpirationSeconds is 3600: tokens live 3600 s",
        ),
        (
            7200,
            3607,
            "7200 has no effect, because locks.maxExpirationSeconds is 3607: tokens live 3600 s",
        ),
        (7200, 7200, None),
        pytest.param(3600, 1800, None, id="the shipped default"),
    ],
)
def test_a_default_above_the_lock_is_a_warning(
    tmp_path: Path, default: int, lock: int, warning: str | None
) -> None:
    file = tmp_path / "config.yaml"
    lines = f"defaults: {{expirationSeconds: {default}}}\nlocks: {{maxExpirationSeconds: {lock}}}\n"
    file.write_bytes(HEAD + lines.encode())
    result = boundtoken("config", "check", str(file))
    assert result.returncode == 0
    assert result.stdout.startswith(f"{file}: valid (hash ")
    expected = f"Warning: {file}: defaults.expirationSeconds: {warning}\n" if warning else ""
    assert result.stderr == expected


def test_faults_of_a_config_map_have_its_name_their_path_and_their_place(tmp_path: Path) -> None:
    where = 'configmap/boundtoken-7k2fh data["config.yaml"]'
    assert checked(tmp_path, a_config_map(BAD, "boundtoken-7k2fh")) == (
        1,
        f"{where}: {UNKNOWN_LOCK}\n",
    )
    status, text = checked(tmp_path, a_config_map(GOOD + "locks: {}", "boundtoken-7k2fh"))
    assert (status, text) == (
        1,
        f'{where}: line 4, column 1: must be YAML: key "locks" is duplicated\n',
    )


def test_of_a_rendered_installation_the_config_map_of_ours_is_checked(tmp_path: Path) -> None:
    others = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n---\n" + a_config_map(
        "unrelated: true", "others", "{}"
    )
    padding = a_config_map("x" * 70_000, "large", "{}")  # more than a configuration may have
    stream = "---\n".join([others, a_config_map(GOOD), padding])
    status, text = checked(tmp_path, stream)
    assert status == 0
    assert text.startswith('configmap/boundtoken data["config.yaml"]: valid (hash ')
    assert checked(tmp_path, f"{others}---\n{a_config_map(BAD)}")[0] == 1


def test_a_list_as_kubectl_prints_it_is_checked(tmp_path: Path) -> None:
    item = "".join(f"  {line}\n" for line in a_config_map(BAD).splitlines())
    text = "apiVersion: v1\nkind: List\nitems:\n-" + item[1:]
    assert checked(tmp_path, text) == (
        1,
        f'configmap/boundtoken data["config.yaml"]: {UNKNOWN_LOCK}\n',
    )


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("data: {config.yml: x}", "configmap/c: data must have the key config.yaml"),
        ("data: null", "configmap/c: data must have the key config.yaml"),
        (
            "data: {config.yaml: {kind: Configuration}}",
            'configmap/c data["config.yaml"]: must be a string: write | after the key and indent the rest',
        ),
    ],
)
def test_a_config_map_without_a_text_is_a_fault(tmp_path: Path, data: str, fault: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c, labels: {OURS}}}\n{data}\n"
    assert checked(tmp_path, text) == (1, f"{fault}\n")


def test_what_needs_one_configuration_refuses_two(tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(f"{a_config_map(GOOD, 'a')}---\n{a_config_map(GOOD, 'b')}")
    result = boundtoken("export", "policies", "--validating", "--config", str(file))
    assert (result.returncode, result.stderr) == (
        2,
        f"boundtoken: {file}: must have one configuration, and has 2: "
        f'{file}: configmap/a data["config.yaml"], {file}: configmap/b data["config.yaml"]\n',
    )
    file.write_text(a_config_map(GOOD))
    result = boundtoken("export", "policies", "--validating", "--config", str(file))
    assert "boundtoken.dev/enforce-floor: bound" in result.stdout
