"""`boundtoken inject`, `uninject` and `diff` as people run them."""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.issuer import Answer, Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from webhook.cli.main import main
from webhook.cli.manifests import reading, replacing
from webhook.core import names
from webhook.enforcement.policies import bindings
from webhook.errors import BadInput, BoundtokenError
from webhook.yamledit import record
from webhook.yamledit.spots import Edit

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers:
      - name: app
        env: [{name: PASSWORD, value: topsecret}]
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}"
ON = ("--inject=enabled", "--automount=disabled")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands run: two files, one of them further down."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop/deep").mkdir(parents=True)
    (tmp_path / "shop/deep/web.yaml").write_text(DEPLOYMENT)
    (tmp_path / "shop/service.yml").write_text(SERVICE)
    (tmp_path / "shop/notes.txt").write_text("no: [yaml")
    return tmp_path


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_folder_is_one_stream_and_every_object_has_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inject", "shop", *ON]) == 0
    output, errors = capsys.readouterr()
    service, deployment = output.split("---\n")
    assert service == SERVICE + "\n"
    assert deployment.startswith(DEPLOYMENT)
    assert errors.splitlines() == [
        "service/web: not-applicable: unchanged (it has no pod template)",
        "deployment/web in shop: injected: annotations status; volumes boundtoken; mounts of app; automountServiceAccountToken false",
    ]


def test_standard_input_goes_through_and_back() -> None:
    result = subprocess.run(
        [BOUNDTOKEN, "inject", "-", *ON], input=DEPLOYMENT.encode(), capture_output=True, check=True
    )
    again = subprocess.run(
        [BOUNDTOKEN, "uninject", "-"], input=result.stdout, capture_output=True, check=True
    )
    assert again.stdout == DEPLOYMENT.encode()


def test_in_place_changes_what_changes_and_back(folder: Path) -> None:
    before = tree(folder)
    (folder / "shop/deep/web.yaml").chmod(0o640)
    (folder / "link.yaml").symlink_to("shop/deep/web.yaml")
    assert main(["inject", "link.yaml", "shop", "--in-place", "--backup", *ON]) == 0
    assert (folder / "link.yaml").is_symlink()
    assert (folder / "shop/deep/web.yaml").stat().st_mode & 0o777 == 0o640
    assert (folder / "shop/deep/web.yaml.orig").read_text() == DEPLOYMENT
    assert not (folder / "shop/service.yml.orig").exists()
    (folder / "shop/deep/web.yaml.orig").unlink()
    (folder / "link.yaml").unlink()
    assert tree(folder) != before
    assert main(["uninject", "shop", "--in-place"]) == 0
    assert tree(folder) == before


def test_in_place_is_whole_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shop/z.yaml").write_text(DEPLOYMENT)
    before, count = tree(folder), 0
    there = Path.replace

    def fails_once(self: Path, target: Any) -> Path:
        nonlocal count
        count += 1
        if count == 2:
            raise OSError(28, "No space left on device", str(target))
        return there(self, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    assert main(["inject", "shop", "--in-place", "--backup", *ON]) == 3
    assert tree(folder) == before
    assert "No space left on device; no file has changed" in capsys.readouterr().err


def test_a_backup_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "shop/deep/web.yaml.orig").write_text("mine")
    before = tree(folder)
    assert main(["inject", "shop", "--in-place", "--backup", *ON]) == 2
    assert tree(folder) == before
    assert "web.yaml.orig: is there already" in capsys.readouterr().err


def test_a_file_that_changed_meanwhile_is_not_replaced(folder: Path) -> None:
    path = folder / "shop/deep/web.yaml"
    with pytest.raises(BadInput, match="has changed since it was read"):
        replacing.replace([replacing.Replacement(path, b"other", b"x")], backup=False)
    assert path.read_text() == DEPLOYMENT


def test_one_bad_file_stops_all_and_every_fault_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "shop/a.yaml").write_text("a: 1\na: 2\n")
    (folder / "shop/b.json").write_text('{"a": {{ .Values.b }} }')
    before = tree(folder)
    assert main(["inject", "shop", "--in-place", *ON]) == 2
    assert tree(folder) == before
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == (
        "boundtoken: shop/a.yaml: line 2: a key is there twice in one map: take one of them out"
    )
    assert "shop/b.json: line 1: must be YAML, and looks like a template" in errors[1]


def test_diff_is_a_diff_that_patch_applies(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{SERVICE}\n---\n{DEPLOYMENT}---\n{SERVICE}\n---\n{DEPLOYMENT}".rstrip("\n")
    (folder / "all.yaml").write_text(text)
    assert main(["inject", "all.yaml", *ON]) == 0
    injected, _ = capsys.readouterr()
    assert main(["diff", "all.yaml", *ON]) == 1
    shown, _ = capsys.readouterr()
    subprocess.run(["git", "apply", "-"], input=shown, text=True, check=True, cwd=folder)
    assert (folder / "all.yaml").read_text() == injected
    assert main(["diff", "all.yaml", *ON]) == 0
    assert capsys.readouterr().out == ""


def test_namespaces_are_those_of_files_then_of_the_stream_then_of_flags(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "ns.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n"
        "  annotations: {boundtoken.dev/inject: enabled, boundtoken.dev/audience: of-the-file}\n"
    )
    words = ["inject", "web.yaml", "--namespace-file", "ns.yaml"]
    (folder / "web.yaml").write_text(DEPLOYMENT)
    assert main(words) == 0
    assert "audience: of-the-file" in capsys.readouterr().out
    (folder / "web.yaml").write_text(
        DEPLOYMENT + "---\n" + (folder / "ns.yaml").read_text().replace("file", "stream")
    )
    assert main(words) == 0
    assert "audience: of-the-stream" in capsys.readouterr().out
    assert main([*words, "--audience=of-the-flag"]) == 0
    assert "audience: of-the-flag" in capsys.readouterr().out


def test_the_configuration_of_the_cluster_counts(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_text(
        "apiVersion: boundtoken.dev/v1alpha1\nkind: Configuration\n"
        "defaults: {inject: enabled, automount: disabled, audience: vault}\n"
        "locks: {maxExpirationSeconds: 700}\n"
    )
    assert main(["inject", "shop", "--config", "config.yaml"]) == 0
    output, _ = capsys.readouterr()
    assert "audience: vault" in output
    assert "expirationSeconds: 700" in output


CONFIGURATION = """\
apiVersion: boundtoken.dev/v1alpha1
kind: Configuration
defaults: {{audience: {}}}
"""


class Cluster(Issuer):
    """An API server with a namespace and the configuration; it may refuse to show that."""

    last_good = ""
    refuses: tuple[str, ...] = ()
    opts_out = False

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> Answer:
        resource = path.partition("?")[0].removeprefix("/api/v1/").rpartition("/")[2]
        if any(refused in path for refused in self.refuses):
            return self.refuse(403, "no")
        if "/validatingadmissionpolicybindings/" in path:
            good = {names.CONFIGURATION: self.last_good}
            good[names.CONFIG_DIGEST] = bindings.digest(good)
            return 200, {"metadata": {"name": names.POD_POLICY, "annotations": good}}, {}
        if resource in self.items:
            return 200, {"items": [self.items[resource]], "metadata": {"resourceVersion": "1"}}, {}
        return super().answer(method, path, authorization, body)

    @property
    def items(self) -> dict[str, Any]:
        """The one object of each list."""
        annotations = {"boundtoken.dev/inject": "enabled"}
        meta = {"name": "shop", "annotations": annotations, "resourceVersion": "1"}
        return {
            "namespaces": {"metadata": meta},
            "configmaps": {"data": {"config.yaml": CONFIGURATION.format("of-the-cluster")}},
            "serviceaccounts": {
                "metadata": {"namespace": "shop", "name": "default"},
                "automountServiceAccountToken": not self.opts_out,
            },
        }


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


def test_the_living_cluster_tells_its_namespaces_and_its_configuration(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    assert main(["inject", "shop", "--from-cluster", "--kubeconfig", str(kubeconfig)]) == 0
    assert "audience: of-the-cluster" in capsys.readouterr().out
    assert [method for method, _, _ in cluster.seen if method != "GET"] == []


def test_a_service_account_of_the_cluster_that_opts_out_counts(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    (folder / "web.yaml").write_text(DEPLOYMENT)
    words = ["inject", "web.yaml", "--from-cluster", "--kubeconfig", str(kubeconfig)]
    assert main(words) == 0
    assert "kube-api-access-" in capsys.readouterr().out
    cluster.opts_out = True
    assert main(words) == 0
    output, errors = capsys.readouterr()
    assert "kube-api-access-" not in output
    assert "Warning: which" not in errors
    manifest = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, namespace: shop}\n"
    (folder / "web.yaml").write_text(f"{manifest}---\n{DEPLOYMENT}")
    assert main(words) == 0
    assert "kube-api-access-" not in capsys.readouterr().out
    (folder / "web.yaml").write_text(f"{manifest}automountServiceAccountToken: true\n---\n{DEPLOYMENT}")  # fmt: skip
    assert main(words) == 0
    assert "kube-api-access-" in capsys.readouterr().out
    cluster.refuses = ("serviceaccounts",)
    assert main(words) == 0
    assert "Warning: which serviceaccounts opt out of tokens is not known of all: needs list" in capsys.readouterr().err  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"), [("- 1\n", 1), ('// a comment {"a":1}\n', 1), ("a: 1\n---\nb: 2\n", 3)]
)
def test_what_is_no_object_is_left_and_told(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, line: int
) -> None:
    (folder / "odd.yaml").write_text(text)
    assert main(["inject", "odd.yaml", *ON]) == 0
    output, errors = capsys.readouterr()
    assert output == text
    assert f"odd.yaml, line {line}: not-applicable: unchanged (no object of Kubernetes" in errors


def test_a_fault_in_an_item_of_a_list_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c}]}}"
    bad = "{apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: 7}}"
    (folder / "list.yaml").write_text(f"kind: List\nitems:\n- {good}\n- 7\n- {bad}\n")
    assert main(["inject", "list.yaml", *ON]) == 2
    assert "list.yaml: line 5: pod/b: " in capsys.readouterr().err
    (folder / "list.yaml").write_text(f"x: &all [{good}]\nkind: List\nitems: *all\n")
    assert main(["diff", "list.yaml", *ON, "--expand-aliases"]) == 1
    assert "pod/a" in capsys.readouterr().err


def test_a_namespace_of_the_stream_is_laid_over_the_clusters(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    manifest = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {boundtoken.dev/audience: x}}"
    (folder / "web.yaml").write_text(f"{manifest}\n---\n{DEPLOYMENT}")
    words = ["inject", "web.yaml", "--from-cluster", "--kubeconfig", str(kubeconfig)]
    assert main(words) == 0
    assert "audience: x" in capsys.readouterr().out
    (folder / "web.yaml").write_text(DEPLOYMENT)
    (folder / "more.json").write_text(json.dumps({"kind": "NamespaceList", "items": [yaml.safe_load(manifest)]}))  # fmt: skip
    assert main([*words, "--namespace-file", "more.json"]) == 0
    assert "audience: x" in capsys.readouterr().out


def test_the_namespace_is_that_of_the_context(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    found = yaml.safe_load(kubeconfig.read_text())
    found["contexts"][0]["context"]["namespace"] = "shop"
    kubeconfig.write_text(yaml.safe_dump(found))
    (folder / "web.yaml").write_text(DEPLOYMENT.replace("namespace: shop", "labels: {}"))
    assert main(["diff", "web.yaml", "--from-cluster", "--kubeconfig", str(kubeconfig)]) == 1
    assert " in shop: rewritten" in capsys.readouterr().err


def test_what_could_not_be_seen_is_in_the_report(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    cluster.refuses = ("serviceaccounts",)
    words = ["shop", "--from-cluster", "--kubeconfig", str(kubeconfig), "--report", "json"]
    assert main(["inject", *words]) == 0
    (warning,) = json.loads(capsys.readouterr().err)["warnings"]
    assert "needs list on serviceaccounts" in warning


def test_no_name_makes_a_line_of_its_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a\npod/evil: injected"}}
    (folder / "odd.yaml").write_text(json.dumps({**pod, "spec": {"containers": [{"name": "c"}]}}))
    assert main(["inject", "odd.yaml", *ON]) == 0
    assert "\npod/evil" not in capsys.readouterr().err
    (folder / "odd.yaml").write_text(json.dumps({**pod, "spec": {"containers": 7}}))
    assert main(["inject", "odd.yaml", *ON]) == 2
    assert "\npod/evil" not in capsys.readouterr().err


def test_a_name_that_is_no_string_and_a_list_in_a_list_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: n}, spec: {containers: [{name: c}]}}"
    (folder / "odd.yaml").write_text(pod)
    assert main(["inject", "odd.yaml", *ON]) == 2
    assert "metadata.name: must be a string" in capsys.readouterr().err
    (folder / "odd.yaml").write_text("kind: List\nitems: [{kind: List, apiVersion: v1, items: []}]")
    assert main(["inject", "odd.yaml", *ON]) == 0
    assert "a List in a List, which is not looked into" in capsys.readouterr().err


def test_aliases_are_counted_in_all_files_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["a: &a [" + "x," * 9 + "x]"]
    lines += [
        f"{new}: &{new} [{(f'*{old},') * 10}]" for old, new in zip("abcd", "bcde", strict=True)
    ]
    text = "\n---\n".join(["\n".join(lines)] * 8)
    for number in range(6):
        (folder / f"{number}.yaml").write_text(text)
    assert main(["uninject", "0.yaml"]) == 0
    assert main(["uninject", *(f"{number}.yaml" for number in range(6))]) == 2
    assert "and 4000000 in all" in capsys.readouterr().err


def test_standard_input_is_read_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inject", "-", "--namespace-file", "-"]) == 2
    assert "only one file can come from standard input" in capsys.readouterr().err


def test_what_the_replicas_use_wins_over_a_configmap_that_has_changed(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.last_good = CONFIGURATION.format("of-the-replicas")
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    assert main(["inject", "shop", "--from-cluster", "--kubeconfig", str(kubeconfig)]) == 0
    assert "audience: of-the-replicas" in capsys.readouterr().out


def test_a_configuration_that_may_not_be_read_is_not_taken_for_the_defaults(
    folder: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = a_kubeconfig(folder / "kubeconfig", cluster.url)
    words = ["inject", "shop", "--from-cluster", "--kubeconfig", str(kubeconfig)]
    cluster.refuses = ("bindings",)
    assert main(words) == 0
    assert "audience: of-the-cluster" in capsys.readouterr().out
    cluster.refuses = ("bindings", "configmaps")
    assert main(words) == 3
    errors = capsys.readouterr().err
    assert "needs list on configmaps in boundtoken-system; --config FILE gives it" in errors
    (folder / "config.yaml").write_text(CONFIGURATION.format("of-the-file"))
    assert main([*words, "--config", "config.yaml"]) == 0
    assert "audience: of-the-file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["https://example.com/a.yaml"], "a URL is not read, because what it serves may change"),
        (["missing.yaml"], "missing.yaml: must be a readable file: No such file or directory"),
        (["\0.yaml"], "its name contains NUL"),
        (["-", "--in-place"], "--in-place needs files"),
        (["shop", "--backup"], "--backup goes with --in-place"),
        (["shop", "--kubeconfig", "x"], "--kubeconfig and --context go with --from-cluster"),
        (["shop", "--inject=yes"], "--inject='yes': ignored, must be \"enabled\""),
        (["shop", "--expiration-seconds=1h"], "--expiration-seconds='1h'"),
        (["shop", "--template-path", "spec"], "--template-path='spec': must be a path of keys"),
        (["shop", "-n", "No"], "--namespace='No'"),
        (["shop", "--webhook-namespace", "No"], "--webhook-namespace='No'"),
    ],
)
def test_what_is_given_wrong_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["inject", *words]) == 2
    output, errors = capsys.readouterr()
    assert (output, why in errors) == ("", True), errors


def test_what_is_too_large_or_no_text_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "large.yaml").write_bytes(b"")
    os.truncate(folder / "large.yaml", 100 << 20)
    (folder / "other.yaml").write_text(DEPLOYMENT, encoding="utf-16")
    assert main(["inject", "large.yaml", "other.yaml", *ON]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "boundtoken: large.yaml: must have at most 33554432 bytes",
        "boundtoken: other.yaml: must be UTF-8",
    ]
    monkeypatch.setattr(reading, "MAX_FILES", 1)
    assert main(["inject", "shop", *ON]) == 2
    assert "shop: at most 1 files" in capsys.readouterr().err
    monkeypatch.setattr(reading, "MAX_ENTRIES", 3)
    assert main(["inject", "shop", *ON]) == 2
    assert "shop: at most 3 files and folders are looked at" in capsys.readouterr().err


def test_no_value_of_a_manifest_is_in_a_message(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in (
        DEPLOYMENT.replace("name: app", "name: [topsecret]"),
        DEPLOYMENT.replace("value: topsecret", "value: !!binary topsecret"),
        DEPLOYMENT + "topsecret: topsecret: topsecret\n",
        DEPLOYMENT + "  template: topsecret\n",
        DEPLOYMENT,
    ):
        (folder / "web.yaml").write_text(text)
        for form in ("text", "json"):
            main(["inject", "web.yaml", "--report", form, *ON])
            assert "topsecret" not in capsys.readouterr().err


def test_a_document_that_was_edited_since_is_cleaned_by_what_is_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEPLOYMENT.replace(
        "    spec:\n", "    spec:\n      automountServiceAccountToken: true\n"
    )
    (folder / "web.yaml").write_text(text)
    assert main(["inject", "web.yaml", "--in-place", *ON]) == 0
    injected = (folder / "web.yaml").read_text()
    (folder / "web.yaml").write_text(injected.replace("PASSWORD", "PASSPHRASE"))
    assert main(["uninject", "web.yaml"]) == 0
    output, errors = capsys.readouterr()
    assert output == DEPLOYMENT.replace("PASSWORD", "PASSPHRASE")
    assert "the document has changed since inject" in errors


def test_another_policy_starts_from_what_was_there_first(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = DEPLOYMENT.replace(
        "    spec:\n", "    spec:\n      automountServiceAccountToken: true\n"
    )
    (folder / "web.yaml").write_text(text)
    assert main(["inject", "web.yaml", "--in-place", *ON]) == 0
    assert main(["inject", "web.yaml", "--in-place", "--audience=vault", *ON]) == 0
    assert "audience: vault" in (folder / "web.yaml").read_text()
    assert main(["uninject", "web.yaml", "--in-place"]) == 0
    assert (folder / "web.yaml").read_text() == text


def test_the_report_in_json_is_one_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inject", "shop", "--report", "json", *ON]) == 0
    _, found = json.loads(capsys.readouterr().err)["objects"]
    assert found["reason"] == "injected"
    assert found["changes"][1:3] == ["volumes boundtoken", "mounts of app"]
    assert (found["file"], found["line"]) == ("shop/deep/web.yaml", 1)


def test_a_line_of_a_string_is_no_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = record.PREFIX + record.packed("", [])
    text = DEPLOYMENT.replace("topsecret", f'"a\n{line}\n   b"')
    (folder / "web.yaml").write_text(text)
    assert main(["uninject", "web.yaml"]) == 0
    assert capsys.readouterr().out == text
    assert main(["inject", "web.yaml", *ON]) == 0
    assert line in capsys.readouterr().out


def test_a_value_at_the_end_without_a_newline_stays_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  volumes: []
  containers:
  - name: app
    volumeMounts: []
    image: |
      x"""
    (folder / "a.yaml").write_text(text)
    assert main(["inject", "a.yaml", "--inject=enabled"]) == 2
    assert "a.yaml: line 9: the text ends in this value: put a newline" in capsys.readouterr().err
    (folder / "a.yaml").write_text(text + "\n")
    assert main(["inject", "a.yaml", "--inject=enabled"]) == 0


@pytest.mark.parametrize("newline", ["\r", "\x85", "\u2028"])
def test_a_comment_hides_no_document_after_it(
    folder: Path, capsys: pytest.CaptureFixture[str], newline: str
) -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, volumeMounts: []}]}}"
    text = f"---\n{pod}{newline}---\n{pod}\n"
    (folder / "a.yaml").write_bytes(text.encode())
    assert main(["inject", "a.yaml", *ON]) == 2
    output, errors = capsys.readouterr()
    assert (output, errors) == (
        "",
        "boundtoken: a.yaml: line 2: the line before --- must end with LF or CRLF: YAML has other line ends\n",
    )


@pytest.mark.parametrize("spec", ["{volumes: [x], containers: []}", "{containers: {a: b}}"])
@pytest.mark.parametrize("command", [["uninject"], ["inject", *ON]])
def test_misshapen_objects_end_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], spec: str, command: list[str]
) -> None:
    (folder / "a.yaml").write_text(
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n"
    )
    assert main([*command, "a.yaml"]) == (2 if command[0] == "inject" else 0)
    assert "pod/a: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shown", "hidden"),
    [("name: app", "name: evil"), ("kind: Deployment", "kind: List"), ("spec:", "---\nspec:")],
)
def test_what_leads_back_hides_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], shown: str, hidden: str
) -> None:
    start = DEPLOYMENT.index(shown)
    word = record.packed(DEPLOYMENT, [Edit(start, start + len(shown), hidden)])
    (folder / "web.yaml").write_text(record.with_comment(DEPLOYMENT, word))
    for command in (["uninject"], ["inject", "--inject=enabled"]):
        assert main([*command, "web.yaml"]) == 0
        assert capsys.readouterr().out.startswith(DEPLOYMENT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("call", "is_changed"), [("mkstemp", False), ("replace", True)])
def test_a_signal_leaves_all_files_or_none(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    call: str,
    is_changed: bool,
) -> None:
    (folder / "shop/z.yaml").write_text(DEPLOYMENT)
    before = tree(folder)
    place: Any = tempfile if call == "mkstemp" else Path
    there = getattr(place, call)

    def sends_first(*given: Any, **named: Any) -> Any:
        # To this thread: another one, such as the test runner's, would take it at once.
        signal.pthread_kill(threading.get_ident(), number)
        return there(*given, **named)

    def ends(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, call, sends_first)
    former = signal.signal(number, ends)
    try:
        assert main(["inject", "shop", "--in-place", *ON]) == 130
    finally:
        signal.signal(number, former)
    after = tree(folder)
    assert after.keys() == before.keys()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == ({"shop/deep/web.yaml", "shop/z.yaml"} if is_changed else set())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_in_place_leaves_a_file_to_its_owner(folder: Path) -> None:
    path = folder / "shop/deep/web.yaml"
    os.chown(path, 1234, 4321)
    path.chmod(0o600)
    assert main(["inject", "shop", "--in-place", "--backup", *ON]) == 0
    for one in (path, path.with_name("web.yaml.orig")):
        there = one.stat()
        assert (there.st_uid, there.st_gid, there.st_mode & 0o777) == (1234, 4321, 0o600)


def test_a_text_that_begins_with_dashes_stays_apart(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.yaml").write_text("a: 1\n")
    (folder / "b.yaml").write_text("---b: 1\n")
    (folder / "c.yaml").write_text("---\nc: 1\n")
    assert main(["inject", "a.yaml", "b.yaml", "c.yaml", *ON]) == 0
    assert capsys.readouterr().out == "a: 1\n---\n---b: 1\n---\nc: 1\n"


def test_a_tab_that_is_not_read_is_told_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.yaml").write_text("# a\n---\n" + DEPLOYMENT.replace("template:", "template:\t"))
    assert main(["inject", "a.yaml", *ON]) == 2
    error = (
        "boundtoken: a.yaml: line 7: a tab is where ruamel.yaml reads spaces only: take it out\n"
    )
    assert capsys.readouterr().err == error


@pytest.mark.parametrize("start", ["\ufeff", "a: 1\r---\n"])
def test_a_diff_has_the_lines_of_the_file(
    folder: Path, capsys: pytest.CaptureFixture[str], start: str
) -> None:
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a}]}}\n"
    (folder / "a.yaml").write_bytes((start + pod).encode())
    assert main(["inject", "a.yaml", *ON]) == 0
    expected = capsys.readouterr().out
    assert main(["diff", "a.yaml", *ON]) == 1
    subprocess.run(["git", "apply"], input=capsys.readouterr().out.encode(), cwd=folder, check=True)
    assert (folder / "a.yaml").read_bytes() == expected.encode()


def test_a_full_disk_is_told_with_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def is_full(number: int) -> None:
        raise OSError(28, "No space left on device")

    before = tree(folder)
    monkeypatch.setattr(os, "fsync", is_full)
    assert main(["inject", "shop", "--in-place", "--backup", *ON]) == 3
    error = "boundtoken: shop/deep/web.yaml: No space left on device; no file has changed\n"
    assert capsys.readouterr().err == error
    assert tree(folder) == before


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_token_in_place_of_a_name_is_in_no_report(
    folder: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"
    (folder / "a.yaml").write_text(DEPLOYMENT.replace("name: app", f"name: {token}"))
    assert main(["inject", "a.yaml", "--report", form, *ON]) == 0
    assert "mounts of (a token)" in (errors := capsys.readouterr().err)
    assert "eyJ" not in errors
    assert form == "text" or json.loads(errors)["objects"]


def test_a_file_that_cannot_be_put_back_is_told_and_not_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        file.write_text("before")
    count, really = 0, Path.replace

    def replace(new: Path, path: Path) -> Path:
        nonlocal count
        count += 1
        if count > 1:
            raise OSError(28, "No space left on device", str(path))
        return really(new, path)

    monkeypatch.setattr(Path, "replace", replace)
    steps = [replacing.Replacement(file, b"before", b"after") for file in files]
    with pytest.raises(BoundtokenError, match=f"device; not put back: {files[0]}$"):
        replacing.replace(steps, backup=False)
    assert [file.read_text() for file in files] == ["after", "before"]
    assert sorted(tmp_path.iterdir()) == files
