"""The flags and the help of `boundtoken inject`, `uninject` and `diff`. It imports no command."""

import argparse

from ..annotation_descriptions import DESCRIPTIONS
from ..core import names
from . import arguments
from .arguments import lazy

EXAMPLES = {
    "inject": """
  # as admission would make its pods, for a cluster without the webhook
  boundtoken inject deployment.yaml --namespace-file namespace.yaml | kubectl apply -f -
  # by flags, as if the namespace had these annotations
  helm template shop . | boundtoken inject - --inject=enabled --automount=disabled
  # every file below a folder, by the annotations of a cluster's namespaces
  boundtoken inject manifests/ --in-place --backup --from-cluster
  # a custom resource with a pod template
  boundtoken inject rollout.yaml --template-path .spec.template --inject=enabled""",
    "uninject": """
  # the file as it was before inject, to the byte
  boundtoken uninject deployment.yaml
  # every file below a folder
  boundtoken uninject manifests/ --in-place""",
    "diff": """
  # what inject would change; exit 1 if that is anything
  boundtoken diff manifests/ --namespace-file namespace.yaml
  # the same of what runs
  kubectl get deployments -n shop -o yaml | boundtoken diff - --from-cluster""",
}
POLICY = {
    names.INJECT: "",
    names.AUTOMOUNT: "",
    names.AUDIENCE: "AUDIENCE",
    names.EXPIRATION_SECONDS: "N",
    names.MOUNT_PATH: "PATH",
    names.TOKENS: "LIST",
    names.MAX_EXPIRATION_SECONDS: "N",
    names.ALLOWED_AUDIENCES: "LIST",
    names.POD_OVERRIDES: "",
}
"""Annotations of namespaces that have a flag, and its metavar where the values are not words."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands."""
    inject = _command(
        commands, "inject", "write what admission would make of pods into their manifests"
    )
    _input(inject)
    _policies(inject)
    _in_place(inject)
    uninject = _command(commands, "uninject", "take out of manifests what inject wrote")
    _input(uninject)
    _in_place(uninject)
    diff = _command(
        commands, "diff", "show what inject would change in manifests, as a unified diff"
    )
    _input(diff)
    _policies(diff)
    for command, name in ((inject, "inject"), (uninject, "uninject"), (diff, "diff")):
        command.set_defaults(run=lazy("inject", name))


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, what: str
) -> argparse.ArgumentParser:
    return arguments.command(commands, name, what, EXAMPLES[name])


def _input(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file",
        metavar="FILE|DIR",
        nargs="+",
        help="YAML or JSON; of a folder every .yaml, .yml and .json below it; - for standard input",
    )
    command.add_argument(
        "--template-path",
        metavar="PATH",
        action="append",
        help="where custom resources have a pod template, such as .spec.podTemplate; repeatable",
    )
    command.add_argument(
        "--expand-aliases",
        action="store_true",
        help="write aliases out where a change of their anchor must not reach them",
    )
    command.add_argument(
        "--report",
        choices=["text", "json"],
        default="text",
        help="on standard error: a line for each object (default), or one document in JSON",
    )


def _policies(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-n",
        "--namespace",
        metavar="NAME",
        help="of objects that name none (default default)",
    )
    for name, metavar in POLICY.items():
        value, meaning = DESCRIPTIONS[name]
        command.add_argument(
            f"--{name.removeprefix(names.DOMAIN)}",
            metavar=metavar or "|".join(value),
            help=f"{meaning} (as {name} of every namespace)",
        )
    command.add_argument(
        "--namespace-file",
        metavar="FILE|DIR",
        action="append",
        help="YAML with Namespaces; those among the manifests count too, and win; repeatable",
    )
    command.add_argument(
        "--config", metavar="FILE", help="the cluster's configuration (default an empty one)"
    )
    command.add_argument(
        "--from-cluster",
        action="store_true",
        help="read the namespaces and the configuration of the cluster of the kubeconfig",
    )
    arguments.kubeconfig_flags(command)
    command.add_argument(
        "--webhook-namespace",
        metavar="NAME",
        help="namespace of the webhook, whose pods are left alone (default boundtoken-system)",
    )


def _in_place(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--in-place", action="store_true", help="change the files: all of them, or none"
    )
    command.add_argument(
        "--backup",
        action="store_true",
        help="with --in-place: keep each file as it was, with .orig after its name",
    )
