"""`boundtoken scan -f`: manifests without a cluster, the flags, and exit codes."""

import argparse
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tests.support.builders import Json, a_container, a_pod
from tests.support.claims import a_token
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.scanned_manifests import ON, a_space, a_workload, scanned
from tests.support.scanning import A_TOKEN, a_report, run_scan
from webhook.cli.explain.tree import WIDTH
from webhook.cli.main import parser
from webhook.cli.scan import command
from webhook.core import names
from webhook.scanning.report import Unread
from webhook.scanning.scan import Scan

NASTY = "\x1b[2J\u202e\n$(reboot)"


def test_manifests_are_told_as_they_would_be_created() -> None:
    code, found = scanned(a_space(**ON), a_workload(), a_pod())
    rows = [(row["object"], row["source"], row["lifetime"]) for row in found["tokens"]]
    assert (code, sorted(rows)) == (0, [("deployment/cart", "boundtoken", "1 h"), ("pod/web", "boundtoken", "1 h")])  # fmt: skip
    assert found["findings"] == []
    assert (found["context"], found["namespaces"][0]["inject"]) == ("", "enabled")
    code, found = scanned(a_space(), a_workload())
    (finding,) = (one for one in found["findings"] if one["code"] == "year-long")
    assert finding["fix"] == "kubectl annotate --overwrite namespace shop boundtoken.dev/inject=replace boundtoken.dev/automount=disabled"  # fmt: skip
    assert finding["place"].startswith("standard input:")


def test_the_same_name_twice_is_two_objects() -> None:
    unnamed = {**a_pod(), "metadata": {"generateName": "x-", "namespace": "shop"}}
    items = {"apiVersion": "v1", "kind": "List", "items": [unnamed, unnamed]}
    _, found = scanned(a_space(), a_workload(), a_workload(), items)
    assert sorted(row["object"] for row in found["tokens"]) == ["deployment/cart"] * 2 + ["pod/x-"] * 2  # fmt: skip
    places = [one["place"] for one in found["findings"] if one["code"] == "year-long"]
    assert len(places) == 4


def test_a_place_is_file_and_line_of_the_document(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(
        "# shop\n"
        + yaml.safe_dump_all(
            [a_space(), {"apiVersion": "apps/v1", **a_workload()}], sort_keys=False
        )
    )
    _, out, _ = run_scan("-f", str(tmp_path), "-o", "json")
    (finding,) = (one for one in json.loads(out)["findings"] if one["code"] == "year-long")
    name, _, line = finding["place"].rpartition(":")
    assert name == str(file)
    assert file.read_text().splitlines()[int(line) - 1] == "apiVersion: apps/v1"
    (tmp_path / "pods.json").write_text(json.dumps({"kind": "List", "items": [a_pod()]}))
    _, out, _ = run_scan("-f", str(tmp_path), "-o", "json")
    assert {row["object"] for row in json.loads(out)["tokens"]} == {"deployment/cart", "pod/web"}


def test_secrets_accounts_drivers_and_rights_of_files_count() -> None:
    secret: Json = {"apiVersion": "v1", "kind": "Secret", "type": names.LEGACY_TOKEN_TYPE}
    metadata = {"name": "old", "namespace": "shop", "annotations": {"kubernetes.io/service-account.name": "default"}}  # fmt: skip
    token = a_token({"sub": "x"})
    secret |= {"metadata": metadata, "stringData": {"token": token}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "shop"}}  # fmt: skip
    driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "v"}, "spec": {"tokenRequests": [{"audience": "vault"}]}}  # fmt: skip
    volumes = [{"name": "old", "secret": {"secretName": "old"}}, {"name": "v", "csi": {"driver": "v"}}]  # fmt: skip
    pod = a_pod(a_container("app", ("old", "/old")), volumes=volumes)
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]}  # fmt: skip
    binding = {"apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "x"}]}  # fmt: skip
    opted_out = {**account, "automountServiceAccountToken": False}
    _, found = scanned(binding, pod, role, driver, opted_out, secret, a_space())
    assert [row["source"] for row in found["tokens"]] == ["legacy-secret", "csi"]
    assert found["secrets"][0]["mountedBy"] == ["pod/web"]
    assert found["minters"] == [{"namespace": "*", "subject": "User x", "can": ["create pods"], "by": "ClusterRoleBinding b"}]  # fmt: skip
    assert token not in json.dumps(found)


def test_selectors_choose_among_manifests() -> None:
    documents = (a_space(), a_space("other"), a_workload("cart", app="cart"), a_workload("web"))

    def objects(*flags: str) -> list[str]:
        _, found = scanned(*documents, flags=flags)
        return sorted(row["object"] for row in found["tokens"])

    assert objects() == ["deployment/cart", "deployment/web"]
    assert objects("-l", "app=cart") == ["deployment/cart"]
    assert objects("-l", "app!=cart") == ["deployment/web"]
    assert objects("-l", "app in (cart, x)") == ["deployment/cart"]
    assert objects("-l", "!app") == ["deployment/web"]
    assert objects("-l", "app notin (cart),app") == []
    assert objects("--namespace-selector", "team=shop") == ["deployment/cart", "deployment/web"]
    assert objects("--namespace-selector", "team=other") == []


@pytest.mark.parametrize("code", ["year-long", "legacy", "missing", "stale", "strict"])
def test_fail_on_is_exit_1_where_there_is_such_a_finding(code: str) -> None:
    found, report = scanned(a_space(), a_workload(), flags=("--fail-on", code))
    codes = {one["code"] for one in report["findings"]}
    assert found == int(code in codes)
    assert codes == {"year-long", "strict"}
    assert scanned(a_space(**ON), a_workload(), flags=("--fail-on", code))[0] == 0


def test_a_comparison_prints_and_fails_on_what_is_new_only(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    _, before = scanned(a_space(), a_workload())
    file.write_text(json.dumps(before))
    flags = ("--since-file", str(file), "--fail-on", "year-long")
    code, found = scanned(a_space(), a_workload(), flags=flags)
    assert (code, found["tokens"], found["findings"], found["since"]["tokens"]) == (0, [], [], [])
    code, found = scanned(a_space(), a_workload(), a_workload("web"), flags=flags)
    assert (code, [row["object"] for row in found["tokens"]]) == (1, ["deployment/web"])
    code, found = scanned(a_space(**ON), a_workload(), flags=flags)
    assert code == 0
    assert [row["source"] for row in found["since"]["tokens"]] == ["automounted"]
    assert [row["source"] for row in found["tokens"]] == ["boundtoken"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be what boundtoken scan -o json prints"),
        ("[]", "must be what boundtoken scan -o json prints"),
        ('{"kind": "Pod", "time": ""}', "Invalid enum value 'Pod'"),
        ('{"kind": "Scan", "time": "", "version": 2}', "version must be 1, and is 2"),
        ('{"time": "", "version": 1}', "required field `kind`"),
        ('{"kind": "Scan", "time": "", "version": 1, "tokens": [{}]}', "`$.tokens[0]`"),
        ("[" * 100_000, "must be what boundtoken scan -o json prints"),
    ],
)
def test_a_file_that_is_no_earlier_scan_is_told(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "before.json"
    file.write_text(text)
    code, out, err = run_scan("-f", "-", "--since-file", str(file), stdin="{}")
    assert (code, out) == (2, "")
    assert str(file) in err
    assert message in err


def test_patches_are_written_into_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "fixes"
    idle = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "idle", "namespace": "shop"}}  # fmt: skip
    text = yaml.safe_dump_all([a_space(), a_workload(), idle])
    code, _, err = run_scan("-f", "-", "--fix", str(folder), stdin=text)
    assert code == 0
    assert f"{folder}: patches of 2 objects in 1 namespace; read them, then: sh {folder}/apply.sh" in err  # fmt: skip
    assert sorted(path.name for path in folder.rglob("*")) == ["apply.sh", "namespace-shop.yaml", "serviceaccount-idle.yaml", "shop"]  # fmt: skip
    space = yaml.safe_load((folder / "shop/namespace-shop.yaml").read_text())
    account = yaml.safe_load((folder / "shop/serviceaccount-idle.yaml").read_text())
    assert space["metadata"] == {"name": "shop", "annotations": {names.INJECT: "replace", names.AUTOMOUNT: "disabled"}}  # fmt: skip
    assert (account["metadata"]["name"], account["automountServiceAccountToken"]) == ("idle", False)
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    code, out, err = run_scan("-f", "-", "--fix", str(folder), stdin=text)
    assert (code, out) == (2, "")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert "must be a new or an empty folder" in err


def test_a_name_that_is_too_long_for_a_file_is_cut(tmp_path: Path) -> None:
    names_of = ["a" * 250 + end for end in "xy"]
    accounts = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "shop"}} for name in names_of]  # fmt: skip
    text = yaml.safe_dump_all([a_space(**ON), *accounts])
    assert run_scan("-f", "-", "--fix", str(tmp_path / "fixes"), stdin=text)[0] == 0
    files = list((tmp_path / "fixes/shop").iterdir())
    assert sorted(yaml.safe_load(file.read_text())["metadata"]["name"] for file in files) == names_of  # fmt: skip


def test_where_nothing_is_to_be_fixed_no_folder_is_made(tmp_path: Path) -> None:
    text = yaml.safe_dump_all([a_space(**ON, enforce="strict"), a_workload()])
    code, _, err = run_scan("-f", "-", "--fix", str(tmp_path / "fixes"), stdin=text)
    assert (code, err) == (0, f"boundtoken: {tmp_path}/fixes: nothing to fix by a patch\n")
    assert not (tmp_path / "fixes").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fail-on", "all"), "--fail-on='all': must be of year-long, legacy, missing, stale, strict"),
        (("-f", "x", "-n", "a", "-n", "b"), "give one --namespace"),
        (("-A", "-n", "a"), "exclude each other"),
        (("-f", "x", "-A"), "--all-namespaces is for a cluster"),
        (("--namespace-selector", "a", "-n", "a"), "exclude each other"),
        (("--fix", "x", "-l", "a"), "--fix needs every pod"),
        (("-f", "-", "--since-file", "-"), "only one file can come from standard input"),
        (("-l", "a b"), '-l: "a b" must be such as app=cart'),
        (("-l", "a in (b"), "must be such as app=cart"),
        (("-l", "a," * 3000), "-l: must have at most 4096 characters"),
        (("--namespace-selector", "(a)"), '--namespace-selector: "(a)" must be such as'),
        (("-n", "A"), "--namespace='A': must be the name"),
        (("--fix", "/dev/null"), "must be a new or an empty folder"),
        (("-f", "/nonexistent"), "/nonexistent"),
        (("-f", "-"), "there is no object in what -f gives"),
        (("-f", "https://x"), "a URL is not read"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_told_with_what_would_be_right(
    arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run_scan(*arguments)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": 7}}, "standard input:1"),
        ({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": [1]}, "standard input:1"),
        ({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {}, "secrets": 1}, "$.secrets"),
    ],
)
def test_a_manifest_of_a_wrong_shape_is_told_with_its_place(document: Json, message: str) -> None:
    code, out, err = run_scan("-f", "-", stdin=yaml.safe_dump(document))
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize("spec", [{"containers": 7}, {"containers": [7]}, [], {"containers": [], "volumes": [{"name": "x", "csi": {"driver": 7}}]}])  # fmt: skip
def test_what_the_webhook_cannot_read_is_a_finding(spec: Any) -> None:
    code, found = scanned(a_space(), {**a_pod(), "spec": spec})
    assert (code, found["tokens"]) == (0, [])
    assert [one["code"] for one in found["findings"]] == ["unreadable"]


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml", "csv", "sarif", "junit", "markdown"])  # fmt: skip
def test_no_text_of_a_manifest_steers_a_terminal_and_no_token_is_shown(output: str) -> None:
    token = a_token({"sub": "x"})
    container = {"name": NASTY, "image": "x", "env": [{"name": "PASSWORD", "value": "hunter2"}]}
    volume = {"name": token, "projected": {"sources": [{"serviceAccountToken": {"path": NASTY, "audience": token}}]}}  # fmt: skip
    pod = a_pod(container, annotations={names.AUDIENCE: token}, volumes=[volume])
    pod["metadata"] |= {"name": NASTY, "namespace": NASTY}
    text = json.dumps({"kind": "List", "items": [a_space(NASTY), pod]})
    result = boundtoken("scan", "-f", "-", "-o", output, stdin=text)
    assert result.returncode == 0, result.stderr
    assert not [char for char in result.stdout if not char.isprintable() and char not in "\r\n"]
    assert "hunter2" not in result.stdout
    assert "eyJ" not in result.stdout
    assert token not in result.stdout


def test_standard_output_may_be_closed_and_a_pipe_may_end() -> None:
    text = yaml.safe_dump_all([a_space(), a_workload()])
    result = boundtoken("scan", "-f", "-", stdin=text, environ={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert result.stderr == ""
    assert "\x1b" not in result.stdout


def test_without_a_cluster_it_fails(tmp_path: Path) -> None:
    result = boundtoken("scan", environ={"KUBECONFIG": str(tmp_path / "none")})
    assert (result.returncode, result.stdout) == (3, "")
    config = {
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:1"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    result = boundtoken("scan", kubeconfig=tmp_path / "config")
    assert (result.returncode, result.stdout) == (3, "")
    assert "127.0.0.1:1" in result.stderr


MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {team: a}}
---
apiVersion: v1
kind: Namespace
metadata: {name: b}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: used, namespace: b}
---
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: old, namespace: b, annotations: {kubernetes.io/service-account.name: used}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: b, labels: {app: db}}
spec:
  paused: true
  template:
    spec:
      serviceAccountName: used
      containers: [{name: db}]
      volumes: [{name: old, secret: {secretName: old}}]
---
apiVersion: v1
kind: Pod
metadata: {name: done, namespace: b}
spec: {containers: [{name: c}]}
status: {phase: Succeeded}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: admins}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: User, name: eve, apiGroup: rbac.authorization.k8s.io}]
"""


def found_in(*words: str) -> Json:
    _, out, _ = run_scan("-f", "-", "-o", "json", *words, stdin=MANIFESTS)
    return dict(json.loads(out))


def test_nothing_is_called_unused_where_not_everything_was_looked_at() -> None:
    whole = found_in()
    assert [one["object"] for one in whole["tokens"]] == ["deployment/db", "deployment/db"]
    assert whole["secrets"][0]["mountedBy"] == ["deployment/db"]
    for words in (("-l", "app=none"), ("--namespace-selector", "team=a")):
        found = found_in(*words)
        assert found["serviceAccounts"] == []
        assert [one for one in found["findings"] if "delete" in one["fix"]] == []
    chosen = found_in("--namespace-selector", "team=a")
    assert [one["name"] for one in chosen["namespaces"]] == ["a"]
    assert chosen["secrets"] == []


def test_a_role_that_is_in_no_file_is_not_seen() -> None:
    what = {one["what"]: one["why"] for one in found_in()["unread"]}
    assert what["clusterrole/cluster-admin"] == "it is bound, and in no file"


def test_a_kubeconfig_and_files_exclude_each_other() -> None:
    code, out, err = run_scan("-f", "-", "--context", "x", stdin=MANIFESTS)
    assert (code, out) == (2, "")
    assert "--kubeconfig and --context are for a cluster" in err


def test_a_comparison_says_what_is_not_comparable_and_why(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    whole = found_in()
    configuration = whole["selection"].pop("configuration")
    assert len(configuration) == 8
    assert whole["selection"] == {"namespaces": [], "selector": "", "namespaceSelector": "", "files": True, "configured": False}  # fmt: skip
    before.write_text(json.dumps(whole))
    flags = ("-f", "-", "--since-file", str(before))
    _, out, err = run_scan(*flags, "-o", "json", stdin=MANIFESTS)
    assert (json.loads(out)["since"]["notComparable"], err) == ([], "")
    _, out, err = run_scan(*flags, "-o", "json", "-l", "app=none", stdin=MANIFESTS)
    found = json.loads(out)
    why = "-l may leave it out now"
    assert found["selection"]["selector"] == "app=none"
    assert (found["since"]["tokens"], found["since"]["serviceAccounts"]) == ([], [])
    assert {one["why"] for one in found["since"]["notComparable"]} == {why}
    assert err.endswith(f"rows are not comparable, and so neither new nor gone: {why}\n")
    for output in ("table", "wide", "markdown", "sarif", "html"):
        _, out, _ = run_scan(*flags, "-o", output, "-l", "app=none", stdin=MANIFESTS)
        assert why in out, output


def test_fail_on_cannot_tell_of_what_is_not_comparable(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text(json.dumps(found_in("-l", "app=none")))
    flags = ("-f", "-", "--since-file", str(before), "--fail-on")
    code, _, err = run_scan(*flags, "year-long", stdin=MANIFESTS)
    assert code == 3
    assert "1 year-long: -l may leave it out then, so --fail-on cannot tell what is new" in err
    assert run_scan(*flags, "stale", stdin=MANIFESTS)[0] == 0


def test_ctrl_c_prints_what_was_read_of_files(tmp_path: Path) -> None:
    file = tmp_path / "first.yaml"
    file.write_text(yaml.safe_dump_all([a_space(), a_workload()]))
    command = [str(BOUNDTOKEN), "scan", "-f", str(file), "-f", "-", "-o", "json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*command, "--fail-on", "year-long"], stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"# it is read\n" * 50_000)  # more than a pipe holds
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    found = json.loads(out)
    assert (process.returncode, found["complete"]) == (3, False)
    assert [row["object"] for row in found["tokens"]] == ["deployment/cart"]
    assert found["unread"] == [{"what": "the rest", "why": "interrupted: what follows was not looked at"}]  # fmt: skip
    assert err == b"boundtoken: interrupted: this is what was seen until then\n"


def test_ctrl_c_while_manifests_are_judged_prints_what_was_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add, names_of = Scan.add_workload, iter(("first", "second"))

    def add_one(self: Scan, *given: Any) -> None:
        if next(names_of) == "second":
            raise KeyboardInterrupt
        add(self, *given)

    monkeypatch.setattr(Scan, "add_workload", add_one)
    text = yaml.safe_dump_all([a_space(), a_workload(), a_workload("web")])
    code, out, _ = run_scan("-f", "-", "-o", "json", stdin=text)
    assert (code, [row["object"] for row in json.loads(out)["tokens"]]) == (3, ["deployment/cart"])


def test_a_comparison_with_another_configuration_makes_nothing_up(tmp_path: Path) -> None:
    before, other = tmp_path / "before.json", tmp_path / "config.yaml"
    before.write_text(json.dumps(found_in()))
    head = "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
    other.write_text(f"{head}defaults:\n  inject: enabled\n")
    flags = ("-f", "-", "--since-file", str(before), "-o", "json")
    for given in (("--config", str(other)), ("--webhook-namespace", "b")):
        _, out, err = run_scan(*flags, *given, stdin=MANIFESTS)
        found = json.loads(out)
        kinds = ("tokens", "findings", "serviceAccounts")
        assert [found[kind] + found["since"][kind] for kind in kinds] == [[], [], []]
        assert found["since"]["notComparable"]
        assert "another configuration, by --config or --webhook-namespace now" in err


def test_an_earlier_scan_of_another_kind_is_told(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    found = {key: value for key, value in found_in().items() if key != "selection"}
    before.write_text(json.dumps(found))
    _, out, err = run_scan("-f", "-", "--since-file", str(before), "-o", "json", stdin=MANIFESTS)
    assert "it does not say what it looked at" in err
    before.write_text(out)
    code, _, err = run_scan("-f", "-", "--since-file", str(before), stdin=MANIFESTS)
    assert code == 2
    assert "must be a whole scan, and was made with --since-file itself" in err


@pytest.mark.parametrize(("source", "code"), [("csi", 3), ("automounted", 0)])
def test_drivers_must_be_seen_where_a_volume_of_one_is_there(source: Any, code: int) -> None:
    token = msgspec.structs.replace(
        A_TOKEN, source=source, lifetime="unknown", lifetime_seconds=None
    )
    unread = (Unread("csidrivers", "needs list on csidrivers"),)
    report = a_report(tokens=(token,), findings=(), unread=unread)
    parsed = argparse.Namespace(fail_on=("year-long",), namespace_selector=None)
    assert command._code(parsed, report, report) == code


def test_a_selector_that_chooses_no_namespace_is_no_success() -> None:
    text = yaml.safe_dump_all([a_space(), a_workload()])
    flags = ("-f", "-", "--namespace-selector")
    code, out, err = run_scan(*flags, "team=no-such", "-o", "json", stdin=text)
    assert (code, json.loads(out)["tokens"]) == (3, [])
    assert err == "boundtoken: No resources found: --namespace-selector team=no-such chooses no namespace that was seen\n"  # fmt: skip
    assert run_scan(*flags, "team=shop", stdin=text)[::2] == (0, "")


def test_fail_on_is_no_success_where_an_object_cannot_be_read(tmp_path: Path) -> None:
    broken = {**a_pod(), "spec": {"containers": 7}}
    text = yaml.safe_dump_all([a_space(**ON), broken])
    before = tmp_path / "before.json"
    code, out, err = run_scan("-f", "-", "-o", "json", stdin=text)
    assert (code, err) == (0, "")
    before.write_text(out)
    for flags in ((), ("--since-file", str(before))):
        code, _, err = run_scan("-f", "-", "--fail-on", "year-long", *flags, stdin=text)
        assert (code, err) == (3, "boundtoken: the webhook cannot read 1 object (unreadable), so --fail-on cannot tell\n")  # fmt: skip
    text = yaml.safe_dump_all([a_space(), broken, a_workload()])
    assert run_scan("-f", "-", "--fail-on", "year-long", stdin=text)[0] == 1


def test_the_help_fits_into_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["scan", "--help"])
    examples = capsys.readouterr().out.partition("examples:")[2]
    assert examples
    assert [line for line in examples.splitlines() if len(line) > WIDTH] == []
