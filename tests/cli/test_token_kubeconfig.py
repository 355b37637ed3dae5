"""`boundtoken token kubeconfig` and `token exec-credential`: what they write, and when they ask."""

import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from tests.support.builders import Json
from tests.support.issuer import Issuer
from tests.support.kubeconfigs import a_kubeconfig
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from webhook.cli.main import parser
from webhook.cli.token import exec_credential
from webhook.tokens.kubectl.exec_credential import ExecCluster

GONE = 'serviceaccounts "cart" not found'


class Person:
    """Somebody with a kubeconfig, a home and a cache of their own."""

    def __init__(self, issuer: Issuer, folder: Path) -> None:
        self.issuer = issuer
        self.folder = folder
        self.kubeconfig = a_kubeconfig(folder / "kubeconfig", issuer.url, namespace="shop")
        self.environ = {
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "KUBECONFIG": str(self.kubeconfig),
        }

    def run(self, *arguments: str, **environ: str) -> CompletedProcess[str]:
        return boundtoken("token", *arguments, environ={**self.environ, **environ})

    def client(self, *arguments: str, server: str = "") -> CompletedProcess[str]:
        """As a client runs its exec plugin."""
        info = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "spec": {"interactive": False, "cluster": {"server": server or self.issuer.url}},
        }
        return self.run(*arguments, KUBERNETES_EXEC_INFO=json.dumps(info))

    @property
    def requests(self) -> int:
        return len(self.issuer.requests)

    @property
    def cached(self) -> list[Path]:
        return sorted((self.folder / "cache/boundtoken/tokens").glob("*.json"))


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    with Issuer() as issuer:
        yield Person(issuer, tmp_path)


def content_of(result: CompletedProcess[str]) -> Json:
    assert result.returncode == 0, result.stderr
    return dict(yaml.safe_load(result.stdout))


def token_of(result: CompletedProcess[str]) -> str:
    assert (result.returncode, result.stderr) == (0, "")
    return str(json.loads(result.stdout)["status"]["token"])


def test_a_credential_is_cached_and_says_when_to_ask_again(person: Person) -> None:
    first = person.run("exec-credential", "cart")
    expiry = json.loads(first.stdout)["status"]["expirationTimestamp"]
    remaining = datetime.fromisoformat(expiry) - datetime.now(UTC)
    assert 2800 < remaining.total_seconds() <= 2880
    assert token_of(person.run("exec-credential", "cart")) == token_of(first)
    assert person.requests == 1
    (file,) = person.cached
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def key(flags: str, cluster: ExecCluster | None = None) -> str:
    return exec_credential._key(
        parser().parse_args(["token", "exec-credential", *flags.split()]), cluster
    )


def test_whatever_makes_tokens_differ_makes_another_key(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in person.environ.items():
        monkeypatch.setenv(name, value)
    keys = [
        *map(
            key,
            (
                "cart",
                "till",
                "cart -n other",
                "cart --audience vault",
                "cart --duration 2h",
                "cart --bound-object-kind Pod --bound-object-name p",
                "cart --bound-object-kind Pod --bound-object-name p --bound-object-uid u",
                "cart --context admin",
                "cart --kubeconfig other",
                "cart --in-cluster",
            ),
        ),
        *(key("cart", ExecCluster(server)) for server in ("https://a", "https://b")),
        key("cart", ExecCluster("https://a", "Q0E=")),
    ]
    assert len(set(keys)) == len(keys)


def test_what_the_flags_leave_to_the_kubeconfig_changes_with_it(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(person.kubeconfig))
    cluster = ExecCluster("https://a")
    given = [
        ("cart -n shop --context admin", cluster, True),
        ("cart -n shop --context admin", None, False),
        ("cart --context admin", cluster, False),
        ("cart -n shop", cluster, False),
    ]
    before = [key(flags, told) for flags, told, _ in given]
    person.kubeconfig.write_text(person.kubeconfig.read_text() + "\n")
    assert [
        key(flags, told) == text for text, (flags, told, _) in zip(before, given, strict=True)
    ] == [is_complete for *_, is_complete in given]


def test_a_client_that_asks_twice_was_refused(person: Person) -> None:
    first = token_of(person.client("exec-credential", "cart"))
    second = token_of(person.client("exec-credential", "cart"))
    assert first != second
    by_hand = token_of(person.run("exec-credential", "till"))
    assert token_of(person.run("exec-credential", "till")) == by_hand


def test_a_token_of_one_cluster_is_not_given_to_another(person: Person) -> None:
    result = person.client("exec-credential", "cart", server="https://other:6443")
    assert (result.returncode, result.stdout, person.requests) == (2, "", 0)
    assert result.stderr == (
        "boundtoken: KUBERNETES_EXEC_INFO: the client calls https://other:6443; --context must be of "
        f"the same cluster, and is of {person.issuer.url}\n"
    )


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ("x", "KUBERNETES_EXEC_INFO: must be the JSON of an ExecCredential"),
        ('{"kind": "Pod"}', 'KUBERNETES_EXEC_INFO: kind must be ExecCredential; it is "Pod"'),
    ],
)
def test_an_exec_info_that_is_none_is_wrong_use(person: Person, info: str, message: str) -> None:
    result = person.run("exec-credential", "cart", KUBERNETES_EXEC_INFO=info)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"boundtoken: {message}")


def test_a_deleted_account_is_named(person: Person) -> None:
    person.issuer.script.append(lambda _: person.issuer.refuse(404, GONE, "serviceaccounts"))
    result = person.client("exec-credential", "cart")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        "boundtoken: service account shop/cart does not exist any more, and without it this kubeconfig is "
        f"of no use: failed to create token: {GONE}; kubectl create serviceaccount cart -n shop\n"
    )
    person.issuer.script.append(lambda _: person.issuer.refuse(404, "x", "namespaces"))
    assert "namespace shop does not" in person.client("exec-credential", "cart").stderr
    person.issuer.script.append(lambda _: person.issuer.refuse(404, "x", "pods"))
    bound = ("--bound-object-kind", "Pod", "--bound-object-name", "p")
    assert "Pod/p does not" in person.client("exec-credential", "cart", *bound).stderr


@pytest.mark.parametrize("command", ["exec-credential", "kubeconfig"])
def test_an_account_that_is_not_there_is_none_that_was(person: Person, command: str) -> None:
    person.issuer.script.append(lambda _: person.issuer.refuse(404, GONE, "serviceaccounts"))
    result = person.run(command, "cart")
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr == (
        f"boundtoken: failed to create token: {GONE}; kubectl create serviceaccount cart -n shop\n"
    )


@pytest.mark.parametrize("spoil", ["mode", "link", "not writable", "file"])
def test_without_a_private_cache_there_is_a_token_and_a_warning(person: Person, spoil: str) -> None:
    cache = person.folder / "cache"
    (cache / "boundtoken").mkdir(parents=True, mode=0o700)
    if spoil == "mode":
        (cache / "boundtoken").chmod(0o775)
    elif spoil == "link":
        (cache / "boundtoken").rename(cache / "elsewhere")
        (cache / "boundtoken").symlink_to(cache / "elsewhere")
    elif spoil == "not writable":
        cache = Path("/proc")  # where root can make no folder either
    else:
        (cache / "boundtoken").rmdir()
        (cache / "boundtoken").touch()
    for count in (1, 2):
        result = person.run("exec-credential", "cart", XDG_CACHE_HOME=str(cache))
        assert result.returncode == 0
        assert json.loads(result.stdout)["status"]["token"]
        assert result.stderr.startswith(f"Warning: tokens are not cached: {cache / 'boundtoken'}")
        assert person.requests == count


def test_a_kubeconfig_that_leads_to_itself_does_not_run_for_ever(person: Person) -> None:
    config = yaml.safe_load(person.kubeconfig.read_text())
    config["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(BOUNDTOKEN),
            "args": ["token", "exec-credential", "cart"],
            "interactiveMode": "Never",
        }
    }
    person.kubeconfig.write_text(yaml.safe_dump(config))
    result = person.run("exec-credential", "cart")
    assert "has its token from this very command" in result.stderr


def test_a_kubeconfig_runs_this_very_command_with_everything_spelled_out(person: Person) -> None:
    flags = "--duration 2h --audience x --bound-object-kind Secret --bound-object-name=-s"
    result = person.run("kubeconfig", "cart", *flags.split())
    made = content_of(result)
    assert result.stderr == (
        f"boundtoken: requests tokens of shop/cart with context admin of {person.kubeconfig}\n"
    )
    assert result.stdout.startswith("# kubeconfig of service account shop/cart, by boundtoken.\n")
    plugin = made["users"][0]["user"]["exec"]
    assert plugin["command"] == str(BOUNDTOKEN)
    assert plugin["args"] == [
        *("token", "exec-credential", "cart", "--namespace", "shop", "--audience=x"),
        *("--duration", "7200s", "--bound-object-kind", "Secret", "--bound-object-name=-s"),
        *(f"--kubeconfig={person.kubeconfig}", "--context=admin"),
    ]
    assert made["clusters"] == [{"name": "prod", "cluster": {"server": person.issuer.url}}]
    assert made["contexts"][0]["context"]["namespace"] == "shop"
    # The client that uses it finds the token that making it has requested.
    assert token_of(person.client(*plugin["args"][1:]))
    assert person.requests == 1


def test_a_kubeconfig_takes_several_files_as_kubectl_does(person: Person) -> None:
    other = a_kubeconfig(person.folder / "other", "https://unused")
    files = f"{person.kubeconfig}:{other}"
    args = content_of(person.run("kubeconfig", "cart", KUBECONFIG=files))["users"][0]["user"][
        "exec"
    ]["args"]
    assert f"--kubeconfig={files}" in args
    token_of(person.client(*args[1:]))
    assert person.requests == 1


def test_a_kubeconfig_for_what_is_not_there_is_not_made(person: Person) -> None:
    person.issuer.script.append(lambda _: person.issuer.refuse(404, GONE, "serviceaccounts"))
    out = person.folder / "out"
    result = person.run("kubeconfig", "cart", "--out", str(out))
    assert (result.returncode, result.stdout) == (3, "")
    assert f"boundtoken: failed to create token: {GONE}" in result.stderr
    assert not out.exists()


def test_a_static_kubeconfig_has_a_token_and_says_how_long(person: Person) -> None:
    result = person.run("kubeconfig", "cart", "--static", "--duration", "10m")
    (user,) = content_of(result)["users"]
    assert user["user"]["token"].startswith("eyJ")
    first, second, third, *_ = result.stdout.splitlines()
    assert first == "# kubeconfig of service account shop/cart, by boundtoken."
    expiry = result.stderr.removeprefix("boundtoken: its token expires at ").strip()
    assert second == f"# Its token expires at {expiry}. A new one:"
    assert third == "#   boundtoken token kubeconfig cart --static --duration 10m"
    remaining = datetime.fromisoformat(expiry) - datetime.now(UTC)
    assert 500 < remaining.total_seconds() <= 600
    assert person.cached == []


def test_a_kubeconfig_as_json(person: Person) -> None:
    result = person.run("kubeconfig", "cart", "-o", "json")
    assert json.loads(result.stdout)["kind"] == "Config"


def test_a_file_is_for_its_owner_and_replaced_only_on_demand(person: Person) -> None:
    out = person.folder / "cart.kubeconfig"
    flags = ("kubeconfig", "cart", "--static", "--out", str(out))
    result = person.run(*flags)
    assert (result.returncode, result.stdout) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = out.read_text()
    again = person.run(*flags)
    assert (again.returncode, again.stderr) == (
        2,
        f"boundtoken: {out}: is there already; --force replaces it\n",
    )
    assert (out.read_text(), person.requests) == (before, 1)
    assert person.run(*flags, "--force").returncode == 0
    assert out.read_text() != before
    nowhere = person.run("kubeconfig", "cart", "--static", "--out", "/missing/x")
    assert (nowhere.returncode, nowhere.stderr) == (
        2,
        "boundtoken: /missing: must be a folder that is there\n",
    )
    assert person.requests == 2
    full = person.run(*flags[:-1], str(person.folder), "--force")
    assert (full.returncode, full.stderr.splitlines()[-1]) == (
        3,
        f"boundtoken: {person.folder}: Is a directory",
    )


def test_in_a_pod_the_credentials_of_the_pod_are_used(person: Person) -> None:
    environ = {
        "KUBECONFIG": "",
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": "1",
    }
    result = person.run("exec-credential", "cart", "--in-cluster", "-n", "shop", **environ)
    assert result.returncode == 3
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in result.stderr
