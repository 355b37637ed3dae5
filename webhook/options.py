"""The options of one process: addresses, paths, log level. A flag wins over its `BOUNDTOKEN_*`
variable, and this over the default.

The settings of the cluster are in its configuration file (`cluster_config.py`). Unknown
`BOUNDTOKEN_*` variables are no fault: the kubelet sets some for every Service called boundtoken.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, get_args

from .core import names
from .errors import BadInput
from .log import LogLevel

PREFIX = "BOUNDTOKEN_"
MAX_PORT = 65535
MAX_HOST_CHARS = 253
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address to listen at."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a serving process."""

    listen: Address
    plain_listen: Address
    config: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = names.NAMESPACE
    drain_seconds: float = 8.0
    log_level: LogLevel = "info"
    standalone: tuple[Path, ...] = ()
    ca_out: Path | None = None
    webhook_configurations: tuple[str, ...] = (names.APP,)
    ca_duration: timedelta = timedelta(days=365)
    leaf_duration: timedelta = timedelta(days=7)
    legacy_tokens: bool = False
    namespace_metrics: bool = False
    self_probe_interval: float = 60.0


class Option(NamedTuple):
    """One flag: `--name METAVAR`, or BOUNDTOKEN_NAME."""

    name: str
    metavar: str
    default: str | None
    help: str
    read: Callable[[str], Any]

    @property
    def field(self) -> str:
        return self.name.replace("-", "_")

    @property
    def variable(self) -> str:
        return PREFIX + self.field.upper()


def address(text: str) -> Address:
    """Read HOST:PORT. Raises: ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port[:6]) > MAX_PORT:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:10250")
    return Address(host=hostname(host.strip("[]")), port=int(port))


def hostname(text: str) -> str:
    """Read a DNS name, which may begin with `*.`, or an IP address. Raises: ValueError."""
    if len(text) > MAX_HOST_CHARS or not _HOST.fullmatch(text):
        try:
            ip_address(text)
        except ValueError:
            raise ValueError("must be a DNS name in ASCII, or an IP address") from None
    return text


def namespace(text: str) -> str:
    """Read the name of a namespace. Raises: ValueError."""
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(
            "must be the name of a namespace: at most 63 lower-case letters, digits and dashes"
        )
    return text


def seconds(text: str) -> float:
    """Read seconds from 0 to 3600. Raises: ValueError."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 3600:  # noqa: PLR2004
        raise ValueError("must be seconds from 0 to 3600")
    return value


def interval(text: str) -> float:
    """Read the seconds between two self-probes: 0, or 1 to 3600. Raises: ValueError."""
    try:
        value = seconds(text)
    except ValueError:
        value = -1
    if value != 0 and value < 1:
        raise ValueError("must be seconds from 1 to 3600, or 0 for none")
    return value


def _names(text: str) -> tuple[str, ...]:
    items = tuple(part.strip() for part in text.split(",") if part.strip())
    if not items:
        raise ValueError("must be names, separated by commas")
    return items


def _duration(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if (
        not number.isascii()
        or not number.isdigit()
        or unit not in _UNITS
        or not 0 < int(number) < 10**6
    ):
        raise ValueError("must be an integer with a unit s, m, h or d, such as 7d or 12h")
    return int(number) * _UNITS[unit]


_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError('must be "on" or "off"')
    return text == "on"


def _level(text: str) -> str:
    if text not in get_args(LogLevel):
        raise ValueError(f"must be one of {', '.join(get_args(LogLevel))}")
    return text


OPTIONS = (
    Option(
        "listen",
        "HOST:PORT",
        None,
        "TLS port for the API server (default 0.0.0.0:10250, standalone 127.0.0.1:10250)",
        address,
    ),
    Option(
        "plain-listen",
        "HOST:PORT",
        None,
        "port of /livez, /readyz, /metrics (default 0.0.0.0:8080, standalone 127.0.0.1:8080)",
        address,
    ),
    Option(
        "config",
        "FILE",
        None,
        "the cluster's configuration, read again when it changes (see: boundtoken config)",
        Path,
    ),
    Option(
        "tls-cert",
        "FILE",
        None,
        "certificate chain in PEM, read again when it changes (default: self-managed certificates)",
        Path,
    ),
    Option("tls-key", "FILE", None, "its key in PEM, read again when it changes", Path),
    Option(
        "kubeconfig",
        "FILE",
        None,
        "credentials for the API server (default: those of the pod)",
        Path,
    ),
    Option("context", "NAME", None, "context of the kubeconfig (default its current one)", str),
    Option(
        "namespace",
        "NAME",
        names.NAMESPACE,
        "boundtoken's own namespace, whose pods are never changed",
        namespace,
    ),
    Option(
        "webhook-configurations",
        "NAME,…",
        names.APP,
        "webhook configurations whose caBundle is written, without --tls-cert",
        _names,
    ),
    Option(
        "ca-duration",
        "DURATION",
        "365d",
        "lifetime of a self-managed CA; renewed after two thirds",
        _duration,
    ),
    Option(
        "leaf-duration",
        "DURATION",
        "7d",
        "lifetime of a self-managed leaf; at most a third of its CA's",
        _duration,
    ),
    Option(
        "legacy-tokens",
        "on|off",
        "off",
        "find legacy token Secrets, for the rule legacy-token; needs RBAC",
        _switch,
    ),
    Option(
        "namespace-metrics",
        "on|off",
        "off",
        "the label namespace of boundtoken_violations_total, for at most 500 namespaces",
        _switch,
    ),
    Option(
        "self-probe-interval",
        "N",
        "60",
        "seconds between two self-probes, a pod in a dry run in its own namespace; 0 for none",
        interval,
    ),
    Option(
        "drain-seconds",
        "N",
        "8",
        "how long to serve after SIGTERM, until endpoints have followed",
        seconds,
    ),
    Option(
        "log-level", "|".join(get_args(LogLevel)), "info", "debug, info, warning or error", _level
    ),
)


def resolve(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """The Config of these flags (by field name; None if not given) and variables.

    Raises: BadInput, with every fault
    """
    chosen: dict[str, Any] = {
        "standalone": tuple(flags.get("standalone") or ()),
        "ca_out": flags.get("ca_out"),
    }
    faults: list[str] = []
    for option in OPTIONS:
        flag, variable = flags.get(option.field), environ.get(option.variable)
        text = flag if flag is not None else variable or option.default
        if text is None:
            continue
        try:
            chosen[option.field] = option.read(text)
        except ValueError as problem:
            faults.append(
                f"{'--' + option.name if flag is not None else option.variable}={text!r}: {problem}"
            )
    faults += _conflicts(chosen)
    if faults:
        raise BadInput(*faults)
    host = "127.0.0.1" if chosen["standalone"] else "0.0.0.0"  # noqa: S104  (a webhook listens to its cluster)
    return Config(
        **{
            "listen": Address(host=host, port=10250),
            "plain_listen": Address(host=host, port=8080),
            **chosen,
        }
    )


def given(arguments: Sequence[str]) -> dict[str, str]:
    """The options in a command line, `--name=value` or `--name value`, by field; unknown ones are
    left out.
    """
    options = {"--" + option.name: option.field for option in OPTIONS}
    values: dict[str, str] = {}
    for number, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in options and (equals or number + 1 < len(arguments)):
            values[options[name]] = value if equals else arguments[number + 1]
    return values


def _conflicts(chosen: Mapping[str, Any]) -> list[str]:
    faults = []
    pair = [chosen.get("tls_cert"), chosen.get("tls_key")]
    if any(pair) and not all(pair):
        faults.append("--tls-cert and --tls-key must be given together")
    if chosen["standalone"] and any(pair):
        faults.append("--standalone makes its own certificate: leave out --tls-cert and --tls-key")
    if chosen["standalone"] and chosen.get("kubeconfig"):
        faults.append("--standalone needs no cluster: leave out --kubeconfig")
    if {"ca_duration", "leaf_duration"} <= chosen.keys() and chosen["leaf_duration"] * 3 > chosen[
        "ca_duration"
    ]:
        faults.append(
            "--leaf-duration must be at most a third of --ca-duration, so that no CA expires before its leaves"
        )
    if chosen["standalone"] and chosen.get("legacy_tokens"):
        faults.append("--standalone has no Secrets: leave out --legacy-tokens")
    if chosen["ca_out"] and not chosen["standalone"]:
        faults.append("--ca-out needs --standalone")
    return faults
