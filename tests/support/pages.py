"""The programs of a page, such as docs/tokens.md, and the manifests of the pods that run them.

Before each block of Python, Go and YAML stands a comment, `<!-- ROLE: NAME -->`, that says what it
is for:

sender      a program that calls a receiver once, with the token that its pod declares. It ends with
            0 where it is accepted, else with another code and 401 or UNAUTHENTICATED in what it
            prints. `<!-- sender: NAME to RECEIVER -->` names the only receiver that it can call.
api-client  the same, where the receiver is the API server.
receiver    a program that serves on the address POD_IP, port 8443, with the certificate in
            /run/tls. It demands the audience AUDIENCE, and asks the API server about each token.
program     any other program. A test has to know its name.
manifest    the pod of all programs of a role, or of the program NAME, and what the pod needs.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.paths import ROOT

TOKENS = ROOT / "docs/tokens.md"
AUDIENCE = "https://orders.shop.svc"
ROLES = ("sender", "api-client", "receiver", "program")
BLOCK = re.compile(
    r"(?:^<!-- ([\w-]+): ([\w.-]+)(?: to ([\w.-]+))? -->\n)?^```(python|go|yaml)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Program(NamedTuple):
    """A program as it stands in a page. `to` is the receiver that it names."""

    role: str
    name: str
    to: str
    language: str
    text: str


class Page(NamedTuple):
    """The programs of a page by name, the documents of its manifests by name or role, and the
    blocks that nothing marks.
    """

    programs: dict[str, Program]
    manifests: dict[str, list[dict[str, Any]]]
    unmarked: list[str]

    def of_role(self, *roles: str) -> list[Program]:
        return [program for program in self.programs.values() if program.role in roles]

    def pod(self, program: Program) -> dict[str, Any]:
        """The pod that runs a program. Raises: KeyError, where the page has none for it"""
        role = "sender" if program.role == "api-client" else program.role
        documents = self.manifests.get(program.name) or self.manifests[role]
        (pod,) = (document for document in documents if document["kind"] == "Pod")
        return pod

    def others(self) -> list[dict[str, Any]]:
        """What its manifests have beside pods."""
        return [
            document
            for documents in self.manifests.values()
            for document in documents
            if document["kind"] != "Pod"
        ]


def page(path: Path = TOKENS) -> Page:
    """A page.

    Raises: ValueError, where two programs have one name
    """
    found = Page({}, {}, [])
    for role, name, to, language, text in BLOCK.findall(path.read_text()):
        if role == "manifest":
            found.manifests[name] = list(yaml.safe_load_all(text))
        elif role not in ROLES or language == "yaml":
            found.unmarked.append(text)
        elif name in found.programs:
            raise ValueError(f"{path}: two programs have the name {name}")
        else:
            found.programs[name] = Program(role, name, to, language, text)
    return found
