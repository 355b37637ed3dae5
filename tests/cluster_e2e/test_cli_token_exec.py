"""kubeconfigs of `boundtoken token kubeconfig`, used by the real kubectl on the real API server."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane
from tests.support.builders import Json
from tests.support.mounts import in_a_pod
from tests.support.paths import BOUNDTOKEN
from tests.support.processes import boundtoken
from tests.support.waiting import wait_for
from webhook.tokens.kubectl.shared import WAITING

SHOP = "token-exec"
WHOAMI = ("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
AT_ONCE = 50


class Person:
    """Somebody with a cache of their own, and kubectl."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.environ = {"XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}

    def kubeconfig(self, account: str, *flags: str) -> Path:
        out = self.folder / f"{account}.kubeconfig"
        result = boundtoken(
            *("token", "kubeconfig", account, "-n", SHOP, "--out", str(out), *flags),
            kubeconfig=self.plane.kubeconfig(),
            environ=self.environ,
        )
        assert (result.returncode, result.stdout) == (0, ""), result.stderr
        return out

    def start(self, kubeconfig: Path, *arguments: str) -> "subprocess.Popen[str]":
        command = [str(build.binary()), "kubectl", f"--kubeconfig={kubeconfig}", *arguments]
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environ},
        )

    def run(self, kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
        process = self.start(kubeconfig, *arguments)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def cached(self) -> Path:
        (path,) = (self.folder / "cache/boundtoken/tokens").glob("*.json")
        return path

    def forget(self) -> None:
        for path in (self.folder / "cache/boundtoken/tokens").iterdir():
            path.unlink()


def token_requests(plane: ControlPlane, account: str) -> int:
    """How many the API server has written into its audit log."""
    count = 0
    for line in plane.audit_log.read_text().splitlines():
        if '"subresource":"token"' in line and f'"namespace":"{SHOP}"' in line:
            event: Json = json.loads(line)
            is_complete = event["stage"] == "ResponseComplete"
            count += is_complete and event["objectRef"]["name"] == account
    return count


@pytest.fixture(scope="module")
def shop(plane: ControlPlane) -> Iterator[ControlPlane]:
    plane.kubectl("create", "namespace", SHOP)
    yield plane
    plane.kubectl("delete", "namespace", SHOP, "--wait=false")


@pytest.fixture
def person(shop: ControlPlane, tmp_path: Path) -> Person:
    return Person(shop, tmp_path)


def create_account(plane: ControlPlane, name: str) -> str:
    plane.kubectl("create", "serviceaccount", name, "-n", SHOP)
    return f"system:serviceaccount:{SHOP}:{name}"


def allow(plane: ControlPlane, broker: str, target: str) -> str:
    """Two accounts, the first of which may request tokens of the second; gives its user name."""
    create_account(plane, broker)
    rule = ("--verb=create", "--resource=serviceaccounts/token", f"--resource-name={target}")
    plane.kubectl("create", "role", broker, "-n", SHOP, *rule)
    subject = f"--serviceaccount={SHOP}:{broker}"
    plane.kubectl("create", "rolebinding", broker, f"--role={broker}", subject, "-n", SHOP)
    return create_account(plane, target)


def test_fifty_kubectl_at_once_make_one_token_request(person: Person) -> None:
    username = create_account(person.plane, "many")
    kubeconfig = person.kubeconfig("many")
    assert token_requests(person.plane, "many") == 1
    assert person.run(kubeconfig, *WHOAMI) == (0, username, "")
    assert token_requests(person.plane, "many") == 1, "what made the kubeconfig is used"
    person.forget()
    processes = [person.start(kubeconfig, *WHOAMI) for _ in range(AT_ONCE)]
    results = [(*process.communicate(timeout=240), process.returncode) for process in processes]
    assert [(out, code) for out, _, code in results] == [(username, 0)] * AT_ONCE
    # On a busy machine those who wait are told why.
    assert {err for _, err, _ in results} <= {"", f"Warning: {WAITING}\n"}
    assert token_requests(person.plane, "many") == 2


def test_a_token_is_renewed_after_four_fifths_of_its_life(person: Person) -> None:
    """The hour passes in the cache: its times are moved back."""
    username = create_account(person.plane, "old")
    kubeconfig = person.kubeconfig("old")
    for age, requests in ((2800, 1), (2881, 2), (3700, 3)):
        entry = json.loads(person.cached().read_text())
        shift = time.time() - age - entry["since"]
        for name in ("since", "refresh_at", "until"):
            entry[name] += shift
        person.cached().write_text(json.dumps(entry))
        assert person.run(kubeconfig, *WHOAMI) == (0, username, "")
        assert token_requests(person.plane, "old") == requests


def test_a_kubeconfig_of_a_deleted_account_says_so(person: Person) -> None:
    create_account(person.plane, "gone")
    kubeconfig = person.kubeconfig("gone")
    assert person.run(kubeconfig, *WHOAMI)[0] == 0
    person.plane.kubectl("delete", "serviceaccount", "gone", "-n", SHOP)
    message = f"boundtoken: service account {SHOP}/gone does not exist any more"
    # First with the token that is still cached, which the API server answers with 401.
    wait_for(lambda: person.run(kubeconfig, *WHOAMI)[0] != 0, 30)
    for _ in range(2):
        code, out, err = person.run(kubeconfig, *WHOAMI)
        assert (code, out) == (1, "")
        assert err.startswith(message)


def test_the_cached_token_of_a_deleted_account_says_so_at_the_first_401(person: Person) -> None:
    create_account(person.plane, "first")
    kubeconfig = person.kubeconfig("first")
    person.plane.kubectl("delete", "serviceaccount", "first", "-n", SHOP)
    token = json.loads(person.cached().read_text())["token"]
    wait_for(lambda: not person.plane.review_token(token).get("authenticated"), 30)
    code, _, err = person.run(kubeconfig, *WHOAMI)
    assert code == 1
    assert err.startswith(f"boundtoken: service account {SHOP}/first does not exist any more")
    assert "You must be logged in" in err


def test_a_kubeconfig_of_an_account_that_was_made_again_works_again(person: Person) -> None:
    username = create_account(person.plane, "again")
    kubeconfig = person.kubeconfig("again")
    person.plane.kubectl("delete", "serviceaccount", "again", "-n", SHOP)
    create_account(person.plane, "again")
    token = json.loads(person.cached().read_text())["token"]
    wait_for(lambda: not person.plane.review_token(token).get("authenticated"), 30)
    assert "Unauthorized" in person.run(kubeconfig, *WHOAMI)[2]
    assert person.run(kubeconfig, *WHOAMI) == (0, username, "")


def test_a_static_kubeconfig_needs_nothing_of_ours(person: Person) -> None:
    username = create_account(person.plane, "static")
    kubeconfig = person.kubeconfig("static", "--static", "--duration", "10m")
    for _ in range(2):
        assert person.run(kubeconfig, *WHOAMI) == (0, username, "")
    assert token_requests(person.plane, "static") == 1
    assert "boundtoken\n" not in kubeconfig.read_text()


def test_an_account_may_request_tokens_of_another_by_its_own_kubeconfig(person: Person) -> None:
    """A kubeconfig of ours as the source of another one: each has its own lock."""
    username = allow(person.plane, "broker", "target")
    first = person.kubeconfig("broker")
    target = person.folder / "target"
    made = boundtoken(
        *("token", "kubeconfig", "target", "--out", str(target)),
        kubeconfig=first,
        environ=person.environ,
    )
    assert made.returncode == 0, made.stderr
    person.forget()
    assert person.run(target, *WHOAMI) == (0, username, "")


def test_in_a_pod_tokens_are_requested_with_the_account_of_the_pod(person: Person) -> None:
    username = allow(person.plane, "pod", "pod-target")
    volume = person.folder / "secrets/kubernetes.io/serviceaccount"
    volume.mkdir(parents=True)
    token = person.plane.kubectl("create", "token", "pod", "-n", SHOP)
    (volume / "token").write_text(token)
    (volume / "namespace").write_text(SHOP)
    (volume / "ca.crt").write_bytes(person.plane.ca_file.read_bytes())
    environ = {
        **person.environ,
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(person.plane.port),
        "KUBECONFIG": "",
    }
    out = person.folder / "kubeconfig"
    make = [str(BOUNDTOKEN), "token", "kubeconfig", "pod-target", "--out", str(out)]
    made = in_a_pod(person.folder / "secrets", make, environ)
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert "with the credentials of this pod" in made.stderr
    person.forget()
    # KUBECONFIG is the new file then, and the plugin asks with the pod's account all the same.
    command = [str(build.binary()), "kubectl", *WHOAMI]
    used = in_a_pod(person.folder / "secrets", command, {**environ, "KUBECONFIG": str(out)})
    assert (used.returncode, used.stdout, used.stderr) == (0, username, "")
