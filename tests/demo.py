"""`make run` and `make cluster`: boundtoken on your own machine, and what to type next.

python -m tests.demo standalone    no cluster: the examples as namespaces, a curl line that works
python -m tests.demo cluster       a real control plane with boundtoken in it
"""

import base64
import contextlib
import json
import os
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.support.builders import a_bare_pod, volume_names
from tests.support.cluster import Cluster, life
from tests.support.paths import BOUNDTOKEN, ROOT
from tests.support.processes import Server, free_port, running_process
from tests.support.waiting import wait_for

REVIEW = Path("tests/review.json")


def port_or_free(port: int) -> int:
    """The usual port, or a free one where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return free_port()
    return port


def standalone() -> int:
    with tempfile.TemporaryDirectory() as folder:
        ports = port_or_free(10250), port_or_free(8080)
        with running_process(
            Path(folder),
            *("--drain-seconds", "0"),
            ports=ports,
            output=sys.stderr.fileno(),
            ready=False,
        ) as server:
            process, ca = server.process, server.ca
            wait_for(lambda: ca.exists() or process.poll() is not None, 20)
            if process.poll() is None:
                print_what_to_try(server)
            with contextlib.suppress(KeyboardInterrupt):
                return process.wait()
            return process.wait()


def print_what_to_try(server: Server) -> None:
    url = f"{server.url}/mutate"
    curl = f"curl -s --cacert {server.ca} -H 'Content-Type: application/json' -d @{REVIEW} {url} | make -s patch"
    print(
        "\nboundtoken serves the namespaces of manifests/examples. In another terminal, in this folder, try"
        f"\n\n  {curl}\n\nIt sends a review of a pod with the automounted token and shows the patch that comes back."
        "\nEdit manifests/examples/namespace.yaml and send it again; each review is one line below."
        f"\nIts metrics: curl -s localhost:{server.plain}/metrics. Ctrl-C stops it.\n",
        flush=True,
    )


def cluster() -> int:
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    build.binary()
    start = time.monotonic()
    say(f"starting etcd, kube-apiserver and kube-controller-manager {build.version()}")
    with ControlPlane() as plane:
        say("kubectl apply -k manifests")
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
        say("starting the pods of the Deployment, as a kubelet would")
        with Kubelet(plane) as kubelet:
            wait_for(lambda: stop.is_set() or kubelet.proxy.ready("boundtoken") == 2, 60)
            if not stop.is_set():
                say(f"ready after {time.monotonic() - start:.0f} s\n")
                show_tokens(Cluster(plane, kubelet))
                things_to_try(kubelet)
            stop.wait()
            say("stopping")
    return 0


def show_tokens(cluster: Cluster) -> None:
    """Two pods, and how long the token lives that a node gets for each."""
    print(
        "  namespace  annotated with                       volume                  its token lives"
    )
    for name, annotations in (
        ("before", {}),
        ("after", {"inject": "enabled", "automount": "disabled"}),
    ):
        cluster.plane.kubectl("create", "namespace", name)
        cluster.annotate(name, **annotations)
        path = f"/api/v1/namespaces/{name}/serviceaccounts?fieldSelector=metadata.name=default"
        wait_for(lambda path=path: cluster.plane.call("GET", path)["items"])
        pod = cluster.run(name, a_bare_pod())
        (token,) = cluster.tokens(pod).values()
        settings = " ".join(f"{key}={value}" for key, value in annotations.items()) or "nothing"
        seconds = life(token)
        print(
            f"  {name:10} {settings:36} {volume_names(pod)[0]:23} {seconds:>10,} s = {seconds / 3600:,.0f} h"
        )


def things_to_try(kubelet: Kubelet) -> None:
    pod = json.dumps({"apiVersion": "v1", "kind": "Pod", **a_bare_pod(name="try")})
    logs = " ".join(shlex.quote(str(replica.folder / "log")) for replica in kubelet.pods)
    print(
        f"""
In another terminal:

  export KUBECONFIG={kubelet.plane.kubeconfig()} PATH={shlex.quote(str(BOUNDTOKEN.parent))}:"$PATH"
  alias kubectl='{build.binary()} kubectl'

Five things to try:

  1. what a pod would get, without making it
     echo {shlex.quote(pod)} | kubectl create -n after -f - --dry-run=server -o yaml
  2. ask for something wrong, and read what was meant
     kubectl annotate namespace before boundtoken.dev/inject=true boundtoken.dev/expiration-seconds=1h
     kubectl run wrong -n after --image=nginx --annotations=boundtoken.dev/expiration-seconds=1h
  3. annotate a Deployment and see its pods follow; take it off and see it go
     kubectl apply -f manifests/examples/namespace.yaml -f manifests/examples
     kubectl get pods -n shop -o yaml | grep -B3 -A12 serviceAccountToken
     kubectl annotate deployment cart -n shop boundtoken.dev/expiration-seconds-
  4. demand bound tokens: see which pods would fail, then see one refused
     kubectl annotate namespace before boundtoken.dev/enforce=bound --dry-run=server
     kubectl annotate namespace default boundtoken.dev/enforce=bound
     kubectl run year-long --image=nginx
  5. the commands of the README: the installation, one workload, every token
     boundtoken check
     boundtoken explain deployment/cart -n shop
     boundtoken scan

No kubelet runs here, so that kubectl logs and exec cannot work. The logs of the replicas are files:

  tail -f {logs}

Ctrl-C stops everything and leaves nothing behind.
""",
        flush=True,
    )


def patch() -> int:
    """Standard input is a reply; the patch in it, readable."""
    text = sys.stdin.read()
    try:
        patch = base64.b64decode(json.loads(text)["response"].get("patch", "W10="))
        print(json.dumps(json.loads(patch), indent=2), flush=True)
    except BrokenPipeError:
        # Its reader, such as head, has seen enough; at the end Python would write to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, KeyError, TypeError, AttributeError):
        what = repr(text[:200]) if text.strip() else "nothing"
        print(
            f"make patch: standard input must be the answer of /mutate, and is {what}; see what make run prints",
            file=sys.stderr,
        )
        return 2
    return 0


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit({"standalone": standalone, "cluster": cluster, "patch": patch}[sys.argv[1]]())
