"""Checks of the API server."""

from collections.abc import Iterator

from .facts import Installation, Server
from .model import Check, Finding, Unseen, failed, passed, there, warning, worst

GROUP = "API server"
OLDEST = (1, 30)
"""ValidatingAdmissionPolicy is stable since then (KEP-3488), and the expressions are of it."""
CLOCK_SECONDS, FAR_SECONDS = 5.0, 60.0
"""Clocks that NTP keeps differ by less; notBefore of certificates is set back by five minutes."""


def api_reachable(seen: Installation) -> Finding:
    """Whether it answered. That it did not is known."""
    if isinstance(seen.server, Unseen):
        return failed(seen.server.why, "kubectl version")
    return passed(f"it is {seen.server.version}")


def api_version(server: Server) -> Finding:
    needed = ".".join(map(str, OLDEST))
    if server.minor < OLDEST:
        return failed(f"it is {server.version}, and boundtoken needs {needed} or newer")
    return passed(f"{server.version}, and {needed} or newer is needed")


def clock(seen: Installation) -> Finding:
    """The clock of this machine and of the replicas beside the API server's."""
    ahead = there(seen.server).ahead_seconds
    found = [_of_clock("the API server's clock is {} this machine's", ahead)]
    if not isinstance(seen.replicas, tuple):
        return worst(*found)
    found += [
        _of_clock(f"the clock of pod/{replica.name} is {{}} the API server's", seconds)
        for replica in seen.replicas
        if (seconds := replica.ahead_seconds) is not None
    ]
    return worst(*found, text=f"{abs(ahead):.0f} s between the API server and this machine")


def _of_clock(sentence: str, seconds: float) -> Finding:
    if abs(seconds) < CLOCK_SECONDS:
        return passed()
    text = sentence.format(f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}")
    return failed(text) if abs(seconds) >= FAR_SECONDS else warning(text)


def checks() -> Iterator[Check[Installation]]:
    yield Check(
        "api-server",
        GROUP,
        "the API server can be reached",
        "Look at the server in the kubeconfig, the network and the credentials: kubectl version.",
        api_reachable,
    )
    yield Check(
        "api-version",
        GROUP,
        "the API server's version is supported",
        "Upgrade the control plane: the policies of boundtoken need what older releases lack.",
        lambda seen: api_version(there(seen.server)),
    )
    yield Check(
        "clock",
        GROUP,
        "the clocks agree",
        "Synchronize the clocks, such as by NTP: certificates and tokens are valid by the clock.",
        clock,
    )
