"""`boundtoken token audit-policy`, `trace` and `watch` as people use them."""

import gzip
import json
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.audit import JANE, NODE, a_request, a_use, an_event, lines, write_large
from tests.support.claims import a_token
from tests.support.limited import Limit
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.cli.token.audit_arguments import RULES
from webhook.cli.token.table import ALIGNED_ROWS
from webhook.tokens.audit.policy import complete
from webhook.tokens.audit.rules import Rules, Settings

JTI = "0d1e2f3a-4b5c-4d6e-8f70-8192a3b4c5d6"
OTHER = "ffffffff-4b5c-4d6e-8f70-8192a3b4c5d6"
TOKEN = a_token({"jti": JTI})
LOG = lines(
    a_request(1, jti=JTI, user=NODE, pod="p1", audiences=["https://vault.example.com"]),
    an_event(2),
    a_use(3, jti=JTI, pod="p1"),
    a_use(4, jti=OTHER),
)
MEGABYTES = int(os.environ.get("BOUNDTOKEN_AUDIT_MEGABYTES", "100"))
MEMORY = 64 << 20
"""Of a process that reads a log of any length; Python with our modules takes a third of it."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (path := tmp_path / "audit.log").write_bytes(LOG)
    return path


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (path := tmp_path / "token").write_text(TOKEN)
    return path


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def test_the_usage_of_trace_is_one_that_runs() -> None:
    """`--audit-log` takes what follows it, so the token comes first."""
    result = boundtoken("token", "trace", "--audit-log", "audit.log", "token")
    assert result.returncode == 2
    assert "boundtoken token trace [-h] TOKEN-FILE|JTI --audit-log FILE [FILE" in result.stderr


def trace(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return boundtoken("token", "trace", *map(str, arguments), **options)


def watch(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return boundtoken("token", "watch", "--max-seconds=86400", *map(str, arguments), **options)


def test_a_trace_for_people(token: Path, log: Path) -> None:
    result = trace(token, "--audit-log", log)
    assert result.returncode == 0
    assert result.stdout == (
        "2026-01-31T08:00:01.000Z requested by system:node:node-1\n"
        "  from        10.0.0.9 with kubectl/v1.37.2 (linux/amd64) kubernetes/abcdef0\n"
        "  account     shop/cart\n"
        "  audience    https://vault.example.com\n"
        "  lifetime    3600 s\n"
        "  bound to    Pod/p1\n"
        "\n"
        "TIME                       USER                              VERB   RESOURCE   NAMESPACE   NAME   CODE   SOURCE     USER-AGENT                                         NOTES\n"
        "2026-01-31T08:00:03.000Z   system:serviceaccount:shop:cart   get    pods       shop        p1     200    10.0.0.9   kubectl/v1.37.2 (linux/amd64) kubernetes/abcdef0   -\n"
    )
    assert re.fullmatch(
        r"boundtoken: read 4 lines of 1 file \(0\.0 MB, \d+ MB/s\)\n"
        rf"boundtoken: JTI={JTI}: 1 request, 1 use\n",
        result.stderr,
    )


def test_a_trace_for_programs(token: Path, log: Path) -> None:
    document = json.loads(trace(token, "--audit-log", log, "-o", "json").stdout)
    assert [request["user"] for request in document["requests"]] == ["system:node:node-1"]
    assert [use["name"] for use in document["uses"]] == ["p1"]
    assert document["read"] == {
        "lines": 4,
        "bytes": len(LOG),
        "files": 1,
        "brokenLines": 0,
        "tooLongLines": 0,
        "problems": [],
    }
    records = trace(token, "--audit-log", log, "-o", "jsonl").stdout.splitlines()
    assert [json.loads(record)["event"] for record in records] == ["request", "use"]


@pytest.mark.parametrize("given", [JTI, f"JTI={JTI}", JTI.upper(), "-"])
def test_a_token_is_given_by_its_id_or_on_standard_input(log: Path, given: str) -> None:
    result = trace(given, "--audit-log", log, stdin=TOKEN.encode() + b"\n")
    assert (result.returncode, result.stdout.count("requested by")) == (0, 1)


def test_the_log_comes_from_standard_input_and_from_several_files(
    token: Path, log: Path, tmp_path: Path
) -> None:
    assert trace(token, "--audit-log", "-", stdin=gzip.compress(LOG)).stdout.count("p1") == 2
    (other := tmp_path / "other.log").write_bytes(lines(a_use(9, jti=JTI)))
    result = trace(token, "--audit-log", log, other, "-o", "jsonl")
    assert len(result.stdout.splitlines()) == 3


def test_rotated_files_are_read_unless_told_otherwise(token: Path, log: Path) -> None:
    log.with_name("audit-2026-01-31T07-00-00.000.log.gz").write_bytes(gzip.compress(LOG))
    assert "2 requests, 2 uses" in trace(token, "--audit-log", log).stderr
    assert "1 request, 1 use" in trace(token, "--audit-log", log, "--no-rotated").stderr


def test_nothing_about_the_token_is_3(token: Path, tmp_path: Path) -> None:
    (log := tmp_path / "audit.log").write_bytes(lines(an_event()))
    result = trace(token, "--audit-log", log)
    assert (result.returncode, result.stdout) == (3, "")
    assert "the log has nothing of it; boundtoken token audit-policy" in result.stderr
    assert json.loads(trace(token, "--audit-log", log, "-o", "json").stdout)["uses"] == []


def test_what_cannot_be_read_to_its_end_is_told_and_is_3(token: Path, log: Path) -> None:
    log.write_bytes(gzip.compress(LOG)[:-4])
    result = trace(token, "--audit-log", log)
    assert result.returncode == 3
    assert "its gz data ends in the middle" in result.stderr
    assert "1 request, 1 use" in result.stderr


def test_broken_and_endless_lines_are_told_and_are_no_failure(token: Path, log: Path) -> None:
    log.write_bytes(b'{"half\n' + LOG + b'{"JTI=%s":}\n' % JTI.encode() + b"x" * (17 << 20))
    result = trace(token, "--audit-log", log)
    assert result.returncode == 0
    assert "2 lines left out: no event in JSON" in result.stderr
    assert "1 line left out: too long for an event" in result.stderr
    assert "1 request, 1 use" in result.stderr


def test_a_log_cannot_steer_a_terminal(token: Path, log: Path) -> None:
    evil = "\x1b]0;x\x07\x9b2J\u202e\n2026 requested by admin"
    user = {"username": evil, "groups": [evil]}
    log.write_bytes(
        lines(
            a_request(jti=JTI, account=f"shop/{evil}", user=user, userAgent=evil, audiences=[evil]),
            a_use(jti=JTI, userAgent=evil, sourceIPs=[evil], requestURI=f"/{evil}", verb=evil),
        )
    )
    for output in ("table", "json", "jsonl"):
        printed = trace(token, "--audit-log", log, "-o", output).stdout
        assert printed.replace("\n", "").isprintable()
        assert "\n2026 requested" not in printed
    findings = watch("--audit-log", log, "--learn=0").stdout
    assert len(findings.splitlines()) == 1
    assert findings.strip().isprintable()


def test_a_table_is_aligned_by_its_first_rows(token: Path, log: Path) -> None:
    count = ALIGNED_ROWS + 10
    names = ["x" * (50 if number > ALIGNED_ROWS else 5) for number in range(count)]
    ref = {"resource": "pods", "namespace": "shop"}
    log.write_bytes(lines(*(a_use(jti=JTI, objectRef={**ref, "name": name}) for name in names)))
    rows = trace(token, "--audit-log", log).stdout.splitlines()
    assert len(rows) == 1 + count
    assert rows[0].startswith("TIME")
    assert {row.index("200    10.0.0.9") for row in rows[1 : ALIGNED_ROWS + 1]} == {
        rows[0].index("CODE")
    }


WRONG: dict[str, tuple[list[str], str]] = {
    "no log": (["trace", JTI], "--audit-log FILE is required"),
    "a log that is not there": (["trace", JTI, "--audit-log", "/missing"], "/missing: must be a readable file: No such file or directory"),
    "a folder": (["trace", JTI, "--audit-log", "/tmp"], "/tmp: must be a file, and is a folder"),
    "a token that is not there": (["trace", "/missing", "--audit-log", "x"], "/missing: must be a readable file: No such file or directory"),
    "a token that is a device": (["trace", "/dev/zero", "--audit-log", "x"], "/dev/zero: must be a regular file"),
    "no token": (["trace", "/etc/hostname", "--audit-log", "x"], "/etc/hostname: must hold a token"),
    "a bad id": (["trace", "JTI=a b", "--audit-log", "x"], "JTI=…: must be 8 to 128 letters"),
    "both from standard input": (["trace", "-", "--audit-log", "-"], "only one of the token and the log"),
    "no rule": (["watch", "--audit-log", "x", "--without", "all"], "invalid choice: 'all'"),
    "no minutes": (["watch", "--audit-log", "x", "--learn", "-1"], "--learn=-1: must be from 0 to 44640 minutes"),
    "no requests": (["watch", "--audit-log", "x", "--per-minute", "0"], "--per-minute=0: must be from 1 to"),
    "no seconds": (["watch", "--audit-log", "x", "--max-seconds", "0"], "--max-seconds=0: must be at least 1"),
    "a baseline from standard input": (["watch", "--audit-log", "x", "--baseline", "-"], "--baseline=-: must be a file"),
    "namespaces that are not there": (["watch", "--audit-log", "x", "-f", "/missing"], "/missing: must be a readable file"),
    "no policy": (["audit-policy", "--merge", "/etc/hostname"], "/etc/hostname: must be one audit policy"),
    "a policy that is not there": (["audit-policy", "--merge", "/missing"], "/missing: must be a readable file"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_use_is_2_and_told_in_a_line(wrong: str) -> None:
    arguments, message = WRONG[wrong]
    result = boundtoken("token", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]


SIGNED = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJqdGkiOiJ4In0.c2lnbmF0dXJlLW9mLWl0"


def test_a_bad_token_is_not_repeated(tmp_path: Path, log: Path) -> None:
    for text in (SIGNED, f"{SIGNED}\n{SIGNED}", SIGNED[:60], f"token: {SIGNED}", f"{SIGNED}é"):
        (tmp_path / "token").write_text(text)
        result = trace(tmp_path / "token", "--audit-log", log)
        assert result.returncode == 2
        assert not any(part in result.stderr for part in SIGNED.split("."))


@pytest.mark.parametrize("output", ["table", "json", "jsonl"])
def test_a_reader_that_goes_away_and_a_full_disk(token: Path, log: Path, output: str) -> None:
    log.write_bytes(LOG * 5000)
    command = f"{BOUNDTOKEN} token trace {token} --audit-log {log} -o {output}"
    gone = subprocess.run(
        ["bash", "-c", f"{command} | head -c 100 >/dev/null; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert gone.returncode == 0
    assert "Traceback" not in gone.stderr
    full = subprocess.run(
        ["bash", "-c", f"{command} > /dev/full"], capture_output=True, text=True, check=False
    )
    assert (full.returncode, full.stderr.splitlines()[-1]) == (
        3,
        "boundtoken: No space left on device",
    )


def test_a_watch_that_nobody_hears_is_no_quiet_one(tmp_path: Path) -> None:
    (log := tmp_path / "audit.log").write_bytes(NORMAL + UNUSUAL)
    command = f"{BOUNDTOKEN} token watch --learn=0 --max-seconds=1 --audit-log {log}"
    gone = subprocess.run(
        ["bash", "-c", f"{command} | head -c 0; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    last = gone.stderr.splitlines()[-1]
    assert (gone.returncode, last) == (3, "boundtoken: nobody reads the findings any more")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_survived(token: Path, log: Path, closed: str) -> None:
    for command in (f"trace {token}", "watch --learn=0 --max-seconds=1"):
        result = subprocess.run(
            ["bash", "-c", f"{BOUNDTOKEN} token {command} --audit-log {log} {closed}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode in (0, 1)
        assert "Traceback" not in result.stderr
    read = subprocess.run(
        ["bash", "-c", f"{BOUNDTOKEN} token trace {token} --audit-log - <&-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (read.returncode, read.stderr) == (2, "boundtoken: standard input is closed\n")


def test_a_crash_leaves_no_core(log: Path, tmp_path: Path) -> None:
    """The process waits for its log in a pipe, after it has read the token."""
    os.mkfifo(tmp_path / "pipe")
    command = f"ulimit -c 1024; exec {BOUNDTOKEN} token trace - --audit-log {tmp_path / 'pipe'}"
    process = subprocess.Popen(["bash", "-c", command], stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(TOKEN.encode())
        process.stdin.close()
        with (tmp_path / "pipe").open("wb"):
            limits = Path(f"/proc/{process.pid}/limits").read_text()
    finally:
        process.kill()
        process.wait()
    assert re.search(r"Max core file size +0 +0 ", limits)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    path = tmp_path_factory.mktemp("large") / "audit.log"
    marked = lines(
        a_request(1, jti=JTI, user=NODE), a_use(2, jti=JTI), a_request(3, user=JANE, code=403)
    )
    yield path, write_large(path, MEGABYTES, marked)
    path.unlink()


LARGE = {
    "trace": ["trace", JTI, "-o", "jsonl"],
    "watch": ["watch", "--learn=0", "--max-seconds=86400"],
}


@pytest.mark.slow("it reads a log of 100 MB four times")
@pytest.mark.parametrize("kind", ["plain", "gz"])
@pytest.mark.parametrize("name", LARGE)
def test_a_log_of_any_length_takes_constant_memory(
    large: tuple[Path, int], name: str, kind: str, tmp_path: Path
) -> None:
    """2 GB in `make long`."""
    path, parts = large
    command = [str(BOUNDTOKEN), "token", *LARGE[name], "--audit-log", str(path)]
    if kind == "gz":
        packed = tmp_path / "audit.log.gz"
        subprocess.run(f"gzip -1 < {path} > {packed}", shell=True, check=True)
        command[-1] = str(packed)
    limit = Limit(MEMORY, name)
    with limit.made():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = subprocess.run(
            limit.command(command), capture_output=True, text=True, check=False, timeout=2000
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (tmp_path / "audit.log.gz").unlink(missing_ok=True)
    assert result.returncode == (0 if name == "trace" else 1), result.stderr
    assert len(result.stdout.splitlines()) == (2 * parts if name == "trace" else 1)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    length = path.stat().st_size / 1e6
    print(
        f"\n{name} {kind}: {length:.0f} MB, {length / seconds:.0f} MB per second of CPU; {result.stderr.splitlines()[0]}"
    )


NORMAL = lines(a_request(0, user=NODE, pod="p1"), a_request(1, "shop/api", user=JANE))
UNUSUAL = lines(a_request(10, user=JANE, expiration=90_000))


def test_a_watch_tells_a_line_for_each_finding_and_is_1(tmp_path: Path) -> None:
    (log := tmp_path / "audit.log").write_bytes(UNUSUAL)
    (normal := tmp_path / "normal.log.gz").write_bytes(gzip.compress(NORMAL))
    result = watch("--audit-log", log, "--baseline", normal)
    assert result.returncode == 1
    where = "from 10.0.0.9 with kubectl/v1.37.2 (linux/amd64) kubernetes/abcdef0"
    assert result.stdout.splitlines() == [
        f"2026-01-31T08:00:10.000Z new-requester shop/cart: jane was never seen to request a token of this account, {where}",
        f"2026-01-31T08:00:10.000Z long-life shop/cart: jane asked for 90000 s; the maximum is 86400 s, {where}",
    ]
    assert "1 token request and 0 uses of tokens, 2 findings" in result.stderr
    found = watch("--audit-log", log, "--baseline", normal, "-o", "json", "--without=long-life")
    assert [json.loads(line)["rule"] for line in found.stdout.splitlines()] == ["new-requester"]


def test_a_quiet_watch_is_0_and_says_what_it_has_learnt(tmp_path: Path) -> None:
    (log := tmp_path / "audit.log").write_bytes(NORMAL + UNUSUAL)
    result = watch("--audit-log", log)
    assert (result.returncode, result.stdout) == (0, "")
    assert "all of it was learnt, because it is shorter than 60 minutes" in result.stderr
    assert watch("--audit-log", "-", "--learn=0", stdin=NORMAL).returncode == 1


def test_a_log_without_bodies_is_told(tmp_path: Path) -> None:
    bare = a_request(0, user=JANE, level="Metadata")
    del bare["requestObject"]
    result = watch("--audit-log", "-", stdin=lines(bare))
    assert "1 token request without audience and lifetime" in result.stderr


@pytest.mark.parametrize(
    "text", [b"", b"no log\n", lines(an_event())], ids=["empty", "none", "no tokens"]
)
def test_a_log_with_nothing_of_tokens_is_no_quiet_one(text: bytes) -> None:
    result = watch("--audit-log", "-", stdin=text)
    assert (result.returncode, result.stdout) == (3, "")
    assert "the log has nothing of tokens; boundtoken token audit-policy" in result.stderr


NAMESPACES = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {boundtoken.dev/max-expiration-seconds: "1800"}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: other}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bad, annotations: {boundtoken.dev/max-expiration-seconds: soon}}
"""


def test_the_maxima_of_namespaces_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "namespaces.yaml").write_text(NAMESPACES)
    (log := tmp_path / "audit.log").write_bytes(lines(a_request(10, user=NODE, expiration=3600)))
    for given in (tmp_path, tmp_path / "namespaces.yaml"):
        result = watch("--audit-log", log, "--learn=0", "-f", given)
        assert "asked for 3600 s; the namespace's maximum is 1800 s" in result.stdout
    (tmp_path / "namespaces.yaml").write_text("kind: Namespace\nmetadata: {name: 1}")
    result = watch("--audit-log", log, "-f", tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Namespace: metadata.name must be a string" in result.stderr


def test_a_cluster_that_cannot_be_reached_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "none").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {"token": SIGNED}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    (log := tmp_path / "audit.log").write_bytes(UNUSUAL)
    result = boundtoken("token", "watch", "--learn=0", "--audit-log", str(log))
    assert (result.returncode, len(result.stdout.splitlines())) == (1, 2)
    assert "the namespaces' own maxima are not known: " in result.stderr
    assert SIGNED not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_follows_until_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    (log := tmp_path / "audit.log").write_bytes(NORMAL)
    command = [str(BOUNDTOKEN), "token", "watch", "--follow", "--audit-log", str(log)]
    with (tmp_path / "out").open("w") as out, (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--learn=0", "--max-seconds=86400"], stdout=out, stderr=errors
        )
        try:
            wait_for(lambda: "new-requester shop/api" in (tmp_path / "out").read_text())
            with log.open("ab") as file:
                file.write(UNUSUAL)
            wait_for(lambda: "long-life" in (tmp_path / "out").read_text(), 2)
            process.send_signal(number)
            assert process.wait(60) == 128 + number
        finally:
            process.kill()
            process.wait()
    assert "3 token requests and 0 uses of tokens, 3 findings" in (tmp_path / "errors").read_text()


def test_a_gz_cannot_be_followed(tmp_path: Path) -> None:
    (log := tmp_path / "audit.log.gz").write_bytes(gzip.compress(NORMAL))
    result = watch("--audit-log", log, "--follow")
    assert (result.returncode, result.stdout) == (2, "")
    assert "leave --follow out" in result.stderr.splitlines()[-1]


def test_the_help_names_every_rule() -> None:
    rules = Rules(Settings())
    assert (*rules.requests, *rules.uses) == RULES


def test_the_policy_as_yaml_and_as_json() -> None:
    text = boundtoken("token", "audit-policy").stdout
    assert yaml.safe_load(text) == complete()
    assert json.loads(boundtoken("token", "audit-policy", "-o", "json").stdout) == complete()
    assert text.count("# ") == 3


def test_a_policy_that_is_merged_says_what_it_had(tmp_path: Path) -> None:
    given = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata # all\n"
    (path := tmp_path / "policy.yaml").write_text(given)
    result = boundtoken("token", "audit-policy", "--merge", str(path))
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "- level: Metadata # all")
    assert result.stderr.splitlines() == [
        f"boundtoken: {path}: requests of service accounts: recorded by rules[0] (level Metadata)",
        f"boundtoken: {path}: token requests: rules[0] (level Metadata) records some without audience, lifetime and bound object; ours go in front of it",
    ]
    piped = boundtoken("token", "audit-policy", "--merge", "-", stdin=result.stdout.encode())
    assert piped.stdout == result.stdout
    assert "standard input: nothing has to be added" in piped.stderr
