"""`boundtoken explain` without a cluster: what it prints, its exit codes, and the webhook's own
decisions.
"""

import base64
import json
import os
import pty
import random
import ssl
import subprocess
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest
import yaml

from tests.support.builders import Json, a_container, a_deployment, a_pod, a_review, api_access
from tests.support.claims import a_token
from tests.support.explaining import run_explain
from tests.support.generated import Generator
from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import boundtoken, running_process
from webhook.cli.explain import tree
from webhook.cli.explain.tree import Node
from webhook.core import names, policy
from webhook.core.full_views import FullPod
from webhook.core.policy import ClusterPolicy, NamespacePolicy
from webhook.scanning.report import LEVELS
from webhook.scanning.told import MAX_TOKENS
from webhook.simulation import living, templates
from webhook.simulation.admission import AUTOMOUNTED, Admission, with_automounted

EXAMPLES = ROOT / "manifests/examples"
PODS, NAMESPACES, SEED = 2_000, 40, 20_262


def a_namespace(name: str = "shop", **annotations: str) -> Json:
    given = {names.DOMAIN + key.replace("_", "-"): value for key, value in annotations.items()}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "annotations": given},
    }


def explained(*documents: Json, flags: tuple[str, ...] = ()) -> tuple[int, Json]:
    """The exit code and the JSON for these documents, in one List."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    code, out, err = run_explain("-f", "-", "-o", "json", *flags, stdin=text)
    assert err == ""
    return code, dict(json.loads(out))


def reason(*documents: Json) -> tuple[int, str]:
    code, result = explained(*documents)
    return code, str(result["objects"][-1]["verdict"]["reason"])


ON = a_namespace(inject="enabled", automount="disabled")
NULLS = a_pod(annotations=None, nodeName=None, volumes=None)
NULLS["metadata"] |= {"annotations": {"x": None}, "name": None}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((ON, a_pod()), (0, "injected")),
        ((a_namespace(inject="enabled"), a_pod()), (0, "rewritten")),
        ((a_namespace(automount="disabled"), a_pod()), (0, "stripped")),
        ((a_namespace(), a_pod()), (0, "not-requested")),
        ((a_namespace(inject="replace"), a_pod(automountServiceAccountToken=False)), (0, "nothing-to-replace")),
        ((ON, a_pod(automountServiceAccountToken=False)), (0, "pod-opted-out")),
        ((ON, a_pod(annotations={names.MIRROR_POD: "x"})), (1, "mirror-pod")),
        ((a_namespace(inject="enabled"), a_pod(a_container("app", ("own", names.DEFAULT_PATH)))), (1, "unchanged")),
        ((ON, {**a_deployment(), "apiVersion": "apps/v1", "kind": "Deployment"}), (0, "not-requested")),
        ((ON, {"apiVersion": "v1", "kind": "Service", "metadata": {}}), (0, "not-applicable")),
        ((ON, {**a_pod(), "spec": {"containers": 7}}), (1, "malformed-review")),
        ((ON, NULLS), (0, "injected")),
        ((a_namespace(inject="true"), a_pod()), (1, "not-requested")),
        ((a_namespace(inject="true"),), (1, "bad-annotations")),
        (({"apiVersion": "v1", "kind": "Namespace", "metadata": [1]},), (1, "malformed-review")),
        ((a_namespace(),), (0, "not-enforced")),
    ],
)  # fmt: skip
def test_each_reason_and_what_it_does_to_the_exit_code(
    documents: tuple[Json, ...], expected: tuple[int, str]
) -> None:
    assert reason(*documents) == expected


@pytest.mark.parametrize(
    ("namespace", "expected"), [("kube-system", "excluded-namespace"), ("boundtoken-system", "own-namespace")]
)  # fmt: skip
def test_a_namespace_that_is_never_touched(namespace: str, expected: str) -> None:
    pod = a_pod()
    pod["metadata"]["namespace"] = namespace
    assert reason(a_namespace(namespace), pod) == (0, expected)
    assert reason(a_namespace(namespace, inject="enabled"), pod) == (1, expected)


def test_what_violates_enforce_is_a_problem_and_what_is_warned_of_is_none() -> None:
    code, result = explained(a_namespace(enforce="strict"), a_pod())
    judged = result["objects"][1]["enforcement"]
    assert (code, judged["outcome"], judged["reason"]) == (1, "denied", "violates")
    assert {one["rule"] for one in judged["violations"]} == {"token-lifetime", "automounted-volume"}
    assert "[token-lifetime]" in judged["denial"]
    code, result = explained(a_namespace(warn="strict"), a_pod())
    assert (code, result["objects"][1]["enforcement"]["outcome"]) == (0, "warned")
    assert explained(a_namespace(enforce="strict", inject="enabled", automount="disabled"), a_pod())[0] == 0  # fmt: skip


def test_what_complies_by_injection_only_is_told_to_be_refused_while_boundtoken_is_away() -> None:
    space = a_namespace(enforce="strict", inject="enabled", automount="disabled")
    _, result = explained(space, a_pod())
    judged = result["objects"][1]["enforcement"]
    assert (judged["reason"], judged["denial"]) == ("complies", "")
    assert "[automounted-volume]" in judged["awayDenial"]
    assert "it complies by injection only" in shown(space, a_pod())
    own = a_pod(automountServiceAccountToken=False)
    assert explained(space, own)[1]["objects"][1]["enforcement"]["awayDenial"] == ""
    assert "it complies by injection only" not in shown(a_namespace(enforce="strict"), a_pod())


def shown(*documents: Json) -> str:
    """The tree without its folds."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    _, out, _ = run_explain("-f", "-", stdin=text)
    return " ".join(line.lstrip("|`- ") for line in out.splitlines())


def test_the_tree_has_what_the_report_has() -> None:
    deployment = {**a_deployment({names.AUDIENCE: "vault", names.EXPIRATION_SECONDS: "1h"})}
    deployment["metadata"]["namespace"] = "shop"
    space = a_namespace(inject="enabled", max_expiration_seconds="1800", warn="strict", allowed_audiences="vault")  # fmt: skip
    text = shown(space, deployment)
    for part in (
        "deployment/web in namespace shop",
        "rewritten: the automounted volume stays, with the audience and lifetime of the policy",
        'status: rewritten: audience="vault" expires=1800 set-by=pod policy=',
        'fault: boundtoken.dev/expiration-seconds="1h" on the workload: ignored, must be an integer',
        "its workload: copied: its annotations are copied into the pod template",
        "audience: vault (by workload)",
        "workload requests vault",
        "defaults requests the API server's own",
        "expiration-seconds: 1800 (by locks)",
        "workload requests 1h: ignored, must be an integer",
        "lock max-expiration-seconds=1800 of the namespace",
        "lock allowed-audiences=vault of the namespace",
        "enforcement: violates: it violates a rule: denied, warned of or audited (automounted-volume)",
        "warn: strict:v1, of the namespace",
        'warning: would violate boundtoken "strict:v1": [automounted-volume]',
    ):
        assert part in text, part


def test_a_workload_is_told_with_its_own_decision_and_that_of_its_pods() -> None:
    deployment = {**a_deployment({names.AUDIENCE: "vault"}), "apiVersion": "apps/v1", "kind": "Deployment"}  # fmt: skip
    _, result = explained(ON, {**deployment, "metadata": {**deployment["metadata"], "namespace": "shop"}}, flags=("--show-patch",))  # fmt: skip
    found = result["objects"][1]
    assert found["workload"]["reason"] == "copied"
    assert [one["path"].rpartition("/")[2] for one in found["workload"]["patch"]]
    assert found["verdict"]["reason"] == "injected"
    layer = next(one for one in found["layers"] if one["name"] == "audience")
    assert (layer["value"], layer["decidedBy"]) == ("vault", "workload")


def test_a_namespace_file_a_configuration_and_the_flag_for_the_namespace(tmp_path: Path) -> None:
    files = {
        "namespace.yaml": yaml.safe_dump(ON),
        "config.yaml": "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\ndefaults: {inject: enabled}\n",
        "pod.json": json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": []}}),
        "list.yaml": yaml.safe_dump({"kind": "List", "apiVersion": "v1", "items": [a_pod(), ON]}),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def run(*flags: str) -> Json:
        given = [str(tmp_path / word) if (tmp_path / word).exists() else word for word in flags]
        _, out, _ = run_explain("-o", "json", *given)
        return dict(json.loads(out)["objects"][0])

    beside = ("--namespace-file", "namespace.yaml", "--namespace-file", "list.yaml")
    found = run("-f", "pod.json", *beside, "-n", "shop")
    assert (found["namespace"], found["layers"][0]["decidedBy"]) == ("shop", "namespace")
    found = run("-f", "pod.json", *beside)
    assert found["namespace"] == "default"
    assert "in no file" in found["notes"][0]
    found = run("-f", "pod.json", "--config", "config.yaml")
    assert (found["layers"][1]["decidedBy"], found["configuration"]) == ("defaults", "--config")
    assert found["layers"][1]["value"] == "enabled"
    assert run("-f", "list.yaml")["verdict"]["reason"] == "injected"


def test_notes_are_there_also_where_there_are_none() -> None:
    _, found = explained(ON, {**a_pod(), "metadata": {"name": "web", "namespace": "shop"}})
    assert [one["notes"] for one in found["objects"]] == [[], []]


def test_it_says_that_nothing_of_a_cluster_was_looked_at() -> None:
    result = boundtoken("explain", "-f", "-", stdin=yaml.safe_dump(a_pod()), environ={"KUBECONFIG": "/nonexistent"})  # fmt: skip
    assert result.returncode == 0
    assert "what was not looked at" in result.stdout
    assert "its Namespace is in no file" in result.stdout
    _, found = explained(a_pod())
    assert found["notes"][0].startswith("nothing of a cluster")
    assert found["objects"][0]["calls"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either TYPE/NAME or -f FILE"),
        (("pod/x", "-f", "x"), "give either TYPE/NAME or -f FILE"),
        (("pod/x", "--from-cluster"), "--from-cluster is for -f FILE"),
        (("pod/x", "--namespace-file", "x"), "--namespace-file is for -f FILE"),
        (("-f", "x", "--from-cluster", "--namespace-file", "y"), "exclude each other"),
        (("-f", "-", "--namespace-file", "-"), "only one file can come from standard input"),
        (("-f", "x", "--audit-log", "y"), "--audit-log is for objects of a cluster"),
        (("pod/x", "pod/y", "--audit-log", "-"), "--audit-log from a stream is for one object"),
        (("pod/x", "pod/y", "--audit-log", "/dev/null"), "is for one object"),
        (("-f", "/nonexistent"), "/nonexistent: must be a readable file"),
        (("pod",), '"pod": must be TYPE/NAME'),
        (("node/x",), '"node": must be one of pod, deployment'),
        (("pod", "A", "b/c"), '"A": must be TYPE/NAME'),
        (("pod/../secrets",), '"../secrets": must be the name of an object'),
        (("pod/x", "--webhook-namespace", "A"), "--webhook-namespace='A': must be the name"),
        (("pod/x", "-n", "A"), "--namespace='A': must be the name"),
    ],
)
def test_wrong_arguments_are_told_with_what_would_be_right(
    arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run_explain(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "standard input: no object of Kubernetes, which has a kind"),
        ("a: [\n", "must be YAML"),
        ("a: &x [*x]\n", "line 1: "),
        ("a: 1\na: 2\n", "line 2: a key is there twice"),
        ('{"kind": "x", "a": 1, "a": 2}', "a key is there twice"),
        ('{"kind": "x", "a": [' + "[]," * 4_000_001 + "[]]}", "at most 4000000 values"),
        ('{"a": 1, "a": 2,}', "line 1: a key is there twice"),
        ("", "there is no object in what -f gives"),
        ("---\n--- # nothing\n", "there is no object in what -f gives"),
        ('{"a":' * 101 + "1" + "}" * 101, "at most 100 levels"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "at most 200 levels"),
        ("{a: " * 101 + "1" + "}" * 101, "at most 100 levels"),
        (f'{{"metadata": {{"name": {"9" * 50}}}}}', "numbers of more than 40 digits"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    code, out, err = run_explain("-f", "-", stdin=text)
    assert (code, out) == (2, "")
    assert err.startswith("boundtoken: ")
    assert message in err


@pytest.mark.parametrize("opening", ["{a: ", '{"a":'])
def test_a_definition_of_a_custom_resource_is_deep(opening: str) -> None:
    schema = opening * 90 + "1" + "}" * 90
    assert run_explain("-f", "-", stdin=f'{{"kind": "x", "spec": {schema}}}')[0] == 0


NASTY = "\x1b[2J\x1b]0;owned\x07\u202e\n$(reboot)"


@pytest.mark.parametrize("output", ["text", "json"])
def test_nothing_of_an_object_steers_a_terminal_and_no_token_and_no_value_is_shown(
    output: str,
) -> None:
    secret = a_token({"sub": "x"})
    pod = a_pod(
        {"name": NASTY, "image": "x", "env": [{"name": "PASSWORD", "value": "hunter2"}]},
        annotations={
            names.AUDIENCE: NASTY,
            names.SKIP_CONTAINERS: NASTY,
            names.DOMAIN + NASTY: secret,
            names.TOKENS: secret,
        },
        volumes=[api_access(NASTY, audience=secret)],
    )
    pod["metadata"] |= {"name": NASTY, "namespace": NASTY}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod, a_namespace(NASTY)]})
    result = boundtoken("explain", "-f", "-", "-o", output, "--show-patch", stdin=text)
    assert result.returncode in (0, 1), result.stderr
    assert not [char for char in result.stdout if not char.isprintable() and char != "\n"]
    assert "hunter2" not in result.stdout
    assert secret.split(".")[1] not in result.stdout
    assert "(a token)" in result.stdout


def on_a_terminal(text: str, **environ: str) -> str:
    """What the command writes to a terminal."""
    ours, its = pty.openpty()
    given = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    with subprocess.Popen(
        [str(BOUNDTOKEN), "explain", "-f", "-"],
        stdin=subprocess.PIPE,
        stdout=its,
        env={**given, "TERM": "xterm", **environ},
    ) as process:
        os.close(its)
        assert process.stdin is not None
        process.stdin.write(text.encode())
        process.stdin.close()
        found = b""
        try:
            while block := os.read(ours, 1 << 16):
                found += block
        except OSError:  # its end is closed
            pass
    os.close(ours)
    return found.decode().replace("\r\n", "\n")


def test_no_operation_of_a_patch_shows_a_token() -> None:
    token = a_token({"sub": "x"})
    annotations = {names.AUDIENCE: token, names.INJECT: "enabled", f"{names.DOMAIN}{token}": "x"}
    document = {**a_deployment(annotations), "apiVersion": "apps/v1", "kind": "Deployment"}
    for flags in ((), ("-o", "json")):
        text = json.dumps({"kind": "List", "items": [ON, document]})
        _, out, _ = run_explain("-f", "-", "--show-patch", "-n", "shop", *flags, stdin=text)
        assert "copied" in out
        assert "(a token)" in out
        assert "eyJ" not in out


def test_colours_are_for_terminals_and_for_people_who_want_them() -> None:
    text = yaml.safe_dump_all([ON, a_pod()])
    plain = boundtoken("explain", "-f", "-", stdin=text).stdout
    assert "\033" not in plain
    coloured = on_a_terminal(text)
    assert "\033[32minjected" in coloured
    assert on_a_terminal(text, NO_COLOR="1") == plain
    assert on_a_terminal(text, TERM="dumb") == plain


def test_it_needs_no_standard_output() -> None:
    command = f"exec {BOUNDTOKEN} explain -f - >&-"
    text = json.dumps(a_pod())
    result = subprocess.run(["sh", "-c", command], input=text, capture_output=True, text=True)  # noqa: PLW1510
    assert (result.returncode, result.stderr) == (0, "")


def test_a_terminal_without_the_signs_gets_others() -> None:
    text = yaml.safe_dump_all([ON, a_pod()])
    result = boundtoken("explain", "-f", "-", stdin=text, environ={"PYTHONIOENCODING": "ascii"})
    assert "|- layers" in result.stdout
    assert result.stdout.isascii()


@pytest.mark.parametrize("text", ["word " * 60, "x" * 300, "漢字" * 100, "é" * 300, "漢 " * 90, "a" * 78 + " b", ""])  # fmt: skip
@pytest.mark.parametrize("depth", [0, 1, 5, 15])
def test_no_line_has_more_than_eighty_columns(text: str, depth: int) -> None:
    node = Node(text, (Node(text), Node(text)))
    for _ in range(depth):
        node = Node(text, (node, Node(text)))
    lines = list(tree.lines(node, coloured=False, drawn=True))
    assert max(map(tree.columns, lines)) <= 80
    shown = "".join("".join(line.strip("├─└│ ") for line in lines).split())
    assert shown == "".join(text.split()) * (3 + 2 * depth)


def patch_of(answer: Json) -> list[Json]:
    return list(json.loads(base64.b64decode(answer["patch"]))) if "patch" in answer else []


def reviewed(url: str, pod: Json, context: ssl.SSLContext) -> Json:
    """The response of a running webhook."""
    body = json.dumps(a_review(pod, namespace=pod["metadata"]["namespace"])).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return dict(json.loads(answer.read())["response"])


def generated(folder: Path) -> list[Json]:
    """Pods in namespaces of all kinds, and the files with both."""
    generator, chance = Generator(SEED), random.Random(SEED)
    spaces = [a_namespace(f"s{number}") for number in range(NAMESPACES)]
    for space in spaces:
        space["metadata"]["annotations"] = generator.namespace() | {
            names.ENFORCE: chance.choice(["off", "bound", "strict", "Bound"]),
            names.WARN: chance.choice(["off", "strict"]),
            names.AUDIT: chance.choice(["off", "bound"]),
        }
    pods: list[Json] = []
    for number in range(PODS):
        pod: Json = {"apiVersion": "v1", "kind": "Pod", **generator.pod()}
        pod["metadata"] |= {"name": f"p{number}", "namespace": f"s{number % NAMESPACES}"}
        pods.append(pod)
    (folder / "spaces.yaml").write_text(yaml.safe_dump_all(spaces))
    listed = {"apiVersion": "v1", "kind": "List", "items": pods}
    (folder / "pods.json").write_text(json.dumps(listed))
    return pods


def injected(pod: Json, spaces: dict[str, NamespacePolicy]) -> str:
    """The reason of `boundtoken inject`, which writes this decision into a text."""
    name = pod["metadata"]["namespace"]
    return templates.inject(Admission(name, ClusterPolicy(), spaces[name]), pod, ()).reason


def scanned(folder: Path) -> dict[str, list[Json]]:
    """The tokens that `boundtoken scan` tells of the generated pods, by the name of a pod."""
    files = ("-f", str(folder / "pods.json"), "-f", str(folder / "spaces.yaml"))
    result = boundtoken("scan", *files, "-o", "json")
    assert result.returncode == 0, result.stderr
    rows: dict[str, list[Json]] = {}
    for row in json.loads(result.stdout)["tokens"]:
        rows.setdefault(row["object"].removeprefix("pod/"), []).append(row)
    return rows


Told = Counter[tuple[Any, ...]]


def as_scanned(pod: Json) -> tuple[Told, Told]:
    """What a scan has to tell of a pod that the webhook has made: how many mounts, and which."""
    tokens = living.tokens_of(msgspec.convert(pod, FullPod)).tokens
    rows = [((one.volume, one.file, one.audience, one.seconds), one.mounts) for one in tokens]
    return Counter((*row, len(mounts)) for row, mounts in rows), Counter(rows)


def as_told(rows: list[Json]) -> tuple[Told, Told]:
    """The same of what it tells; mounts only of tokens of which all are told."""
    counted, whole = Told(), Told()
    for row in rows:
        key = (row["volume"], row["file"], row["audience"], row["requestedSeconds"] or 3600)
        counted[*key, len(row["mounts"]) + row["moreMounts"]] += 1
        mounts = tuple((mount["container"], mount["path"]) for mount in row["mounts"])
        whole[key, mounts] += not row["moreMounts"]
    return counted, whole


def reaches(rows: list[Json], level: str) -> bool:
    return all(LEVELS.index(row["level"]) >= LEVELS.index(level) for row in rows)


def unnamed(message: str) -> str:
    """A message with * for the end of the automounted volume's name, which explain makes up."""
    return message.replace(AUTOMOUNTED, "kube-api-access-*")


@pytest.mark.slow("2,000 pods, and two reviews of each")
def test_two_thousand_pods_are_decided_as_the_webhook_decides(tmp_path: Path) -> None:
    """By explain, by inject and by scan in one run each, and by a running webhook in two reviews of
    each.
    """
    pods = generated(tmp_path)
    rows = scanned(tmp_path)
    result = boundtoken(
        *("explain", "-f", str(tmp_path / "pods.json"), "-o", "json", "--show-patch"),
        *("--namespace-file", str(tmp_path / "spaces.yaml")),
    )
    objects = json.loads(result.stdout)["objects"]
    assert (result.returncode, len(objects)) == (1, PODS)
    spaces = {
        space["metadata"]["name"]: policy.resolve_namespace(
            ClusterPolicy(), policy.namespace_annotations(space["metadata"]["annotations"])
        )
        for space in yaml.safe_load_all((tmp_path / "spaces.yaml").read_text())
    }
    seen = Counter[tuple[str, str]]()
    with running_process(tmp_path, namespaces=tmp_path / "spaces.yaml") as server:
        context = server.trust()
        for pod, found in zip(pods, objects, strict=True):
            arrives = with_automounted(pod)
            mutated = reviewed(server.url + "/mutate", arrives, context)
            verdict, audit = found["verdict"], mutated["auditAnnotations"]
            assert (verdict["reason"], verdict["policy"]) == (audit["reason"], audit["policy"])
            assert injected(pod, spaces) == verdict["reason"]
            assert verdict["warnings"] == mutated.get("warnings", [])
            assert verdict["patch"] == patch_of(mutated)
            after = jsonpatch.apply_patch(arrives, verdict["patch"])
            validated = reviewed(server.url + "/validate", after, context)
            judged, audit = found["enforcement"], validated["auditAnnotations"]
            assert judged["reason"] == audit["reason"]
            denial = validated.get("status", {}).get("message", "")
            assert judged["denial"] == unnamed(denial)
            assert judged["warnings"] == [unnamed(text) for text in validated.get("warnings", [])]
            assert judged["audit"] == unnamed(audit.get("violations", ""))
            of_pod = rows.get(pod["metadata"]["name"], [])
            (counted, whole), (expected, full) = as_told(of_pod), as_scanned(after)
            assert (counted - expected, whole - full) == (Told(), Told())
            assert counted.total() == min(expected.total(), MAX_TOKENS)
            level = spaces[pod["metadata"]["namespace"]].enforcement.enforce.level
            if level != "off":
                violates = any(one["mode"] == "enforce" for one in judged["violations"])
                assert violates is not reaches(of_pod, level)
            seen[verdict["reason"], judged["reason"]] += 1
    reasons = {"injected", "rewritten", "stripped", "not-requested", "pod-opted-out"}
    assert {mutation for mutation, _ in seen} >= reasons | {"nothing-to-replace", "unchanged"}
    assert {validation for _, validation in seen} == {"complies", "violates", "not-enforced"}


def test_folders_are_read_with_theirs_and_a_url_is_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "web.yaml").write_text(
        "x: &on {boundtoken.dev/inject: enabled}\n"
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: *on}\n"
    )
    (tmp_path / "pod.json").write_text(json.dumps(a_pod()))
    (tmp_path / "notes.txt").write_text("a: [")
    code, out, _ = run_explain("-f", str(tmp_path), "-o", "json")
    found = json.loads(out)["objects"]
    assert (code, [one["kind"] for one in found]) == (0, ["Pod", "Namespace"])
    assert found[0]["verdict"]["reason"] == "rewritten"
    assert found[0]["source"] == str(tmp_path / "pod.json")
    code, out, err = run_explain("-f", "https://example.com/web.yaml")
    assert (code, out) == (2, "")
    assert "a URL is not read" in err


def test_every_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("a: [")
    code, out, err = run_explain("-f", str(tmp_path))
    assert (code, out) == (2, "")
    assert f"{tmp_path}/a.yaml: line " in err
    assert f"{tmp_path}/b.yaml: line " in err


@pytest.mark.parametrize("flag", [(), ("--from-cluster",)])
def test_an_audit_log_says_nothing_of_manifests(flag: tuple[str, ...]) -> None:
    code, out, err = run_explain("-f", "-", *flag, "--audit-log", "audit.log", stdin="a: 1")
    assert (code, out) == (2, "")
    assert "--audit-log is for objects of a cluster" in err


@pytest.mark.parametrize("words", [("--kubeconfig", "none"), ("--context", "none")])
def test_a_cluster_that_is_not_asked_is_a_usage_error(words: tuple[str, ...]) -> None:
    code, out, err = run_explain("-f", "-", *words, stdin="a: 1")
    assert (code, out) == (2, "")
    assert "--kubeconfig and --context go with --from-cluster" in err


def test_what_is_no_object_is_left_out_and_told(tmp_path: Path) -> None:
    (tmp_path / "patch.yaml").write_text("- {op: add, path: /a, value: 1}\n")
    items: list[Json | int | None] = [None, 7, {"spec": {}}, a_pod()]
    (tmp_path / "list.json").write_text(json.dumps({"kind": "List", "items": items}))
    code, out, _ = run_explain("-f", str(tmp_path), "-o", "json")
    found = json.loads(out)
    assert (code, [one["source"] for one in found["objects"]]) == (0, [f"{tmp_path}/list.json, item 4"])  # fmt: skip
    told = [note for note in found["notes"] if "no object of Kubernetes, which has a kind" in note]
    assert len(told) == 4


def test_service_accounts_and_namespaces_of_the_stream_count() -> None:
    shop = a_namespace(inject="replace", automount="disabled")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}}  # fmt: skip
    quiet = {**account, "automountServiceAccountToken": False}
    again = {**a_namespace(), "metadata": {"name": "shop", "labels": {"a": "b"}}}
    items = [shop, quiet, account, again, a_pod()]
    _, out, _ = run_explain("-f", "-", "-o", "json", stdin=json.dumps({"kind": "List", "items": items}))  # fmt: skip
    assert json.loads(out)["objects"][-1]["verdict"]["reason"] == "nothing-to-replace"
    items.remove(quiet)
    _, out, _ = run_explain("-f", "-", "-o", "json", stdin=json.dumps({"kind": "List", "items": items}))  # fmt: skip
    assert json.loads(out)["objects"][-1]["verdict"]["reason"] == "injected"


def test_a_pod_template_is_explained() -> None:
    template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "t", "namespace": "shop"}, "template": {"spec": a_pod()["spec"]}}  # fmt: skip
    items = [a_namespace(inject="enabled"), template]
    _, out, _ = run_explain("-f", "-", "-o", "json", stdin=json.dumps({"kind": "List", "items": items}))  # fmt: skip
    assert json.loads(out)["objects"][-1]["verdict"]["reason"] == "rewritten"


@pytest.mark.parametrize(("word", "is_known"), [("deployments.apps", True), ("deployment.v1.apps", True), ("deployment.foo.io", False), ("pods.apps", False)])  # fmt: skip
def test_the_group_of_a_kind_counts(word: str, is_known: bool, tmp_path: Path) -> None:
    _, _, err = run_explain(f"{word}/web", "--kubeconfig", str(tmp_path / "none"))
    assert ("must be one of" in err) is not is_known
