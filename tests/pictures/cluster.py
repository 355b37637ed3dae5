"""`make pictures-of-a-cluster`: what `boundtoken check` and `boundtoken scan` show of a real
control plane, as SVG in docs/pictures. Times and the names of pods differ from run to run.
"""

import os

from tests.controlplane import build
from tests.controlplane.cluster import ControlPlane
from tests.controlplane.kubelet import Kubelet
from tests.pictures.__main__ import write
from tests.support.cluster import Cluster
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

ON = {"inject": "enabled", "automount": "disabled"}
PICTURES = {"check": "boundtoken check", "scan": "boundtoken scan -n billing -n shop -n web"}


def main() -> None:
    build.binary()
    with ControlPlane() as plane:
        plane.kubectl("apply", "-k", str(ROOT / "manifests"))
        with Kubelet(plane) as kubelet:
            wait_for(lambda: kubelet.proxy.ready("boundtoken") == 2, 60)
            cluster = Cluster(plane, kubelet)
            for name in ("billing", "shop", "web"):
                plane.kubectl("create", "namespace", name)
                if name == "web":
                    cluster.annotate(name, **ON)
                cluster.deployment(name)
            cluster.annotate("shop", **ON)  # its pod is older
            os.environ["KUBECONFIG"] = str(plane.kubeconfig())
            for name, command in PICTURES.items():
                path = write(name, command)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
