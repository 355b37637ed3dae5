"""Who may import whom, and what the pure packages may not see. A violation names the file and the
import.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "webhook"
FILES = sorted(PACKAGE.rglob("*.py"))
PURE = {"core", "mutation", "enforcement"}
MAY_IMPORT = {
    "core": {"core"},
    "mutation": {"core", "mutation"},
    "enforcement": {"core", "mutation", "enforcement"},
    "simulation": {*PURE, "simulation"},
    "terminal": {"core", "terminal"},
    "checks": {*PURE, "simulation", "checks"},
    "scanning": {*PURE, "simulation", "scanning"},
    "cluster": {"core", "cluster"},
    "pki": {"core", "cluster", "pki"},
    "tokens": {"core", "tokens"},
    "yamledit": {"yamledit"},
    "serving": {*PURE, "cluster", "pki", "serving"},
    "cli": {
        *PURE,
        *(
            "simulation",
            "terminal",
            "checks",
            "scanning",
            "cluster",
            "pki",
            "tokens",
            "yamledit",
            "serving",
        ),
        "cli",
    },
}
"""The packages; each may import those that it names."""
CREDENTIALS = "webhook.cluster.credentials"
"""What tokens may import beside: the files of a pod, and kubeconfigs."""
SCANNING = "scanning"
RIGHTS = "webhook.tokens.rbac"
"""What scanning may import beside: who may do what, by roles and bindings, which is pure."""
LIBRARY = "tokens"
"""The package that other programs import: its `__init__.py` has the names of the library."""
ADAPTERS = "adapters"
"""Its folder of clients and servers: each module imports its own package."""
SHARED = {
    "errors",
    "options",
    "annotation_descriptions",
    "cluster_config",
    "config_descriptions",
    "documents",
    "metrics",
    "log",
    "log_writer",
}
"""Modules beside the packages; they may import core."""
PURE_SEES = {"errors"}
PURE_MAY = {
    "base64",
    "collections",
    "dataclasses",
    "difflib",
    "enum",
    "functools",
    "hashlib",
    "ipaddress",
    "itertools",
    "msgspec",
    "operator",
    "re",
    "string",
    "typing",
}
FORBIDDEN_CALLS = {"now", "utcnow", "today"}


def imports(path: Path) -> Iterator[str]:
    """Every imported module as a full name, lazy ones included."""
    package = ("webhook", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def package(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_every_module_is_in_a_room_or_beside_them() -> None:
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert found == {*MAY_IMPORT, *SHARED, "__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    may = MAY_IMPORT.get(own, {"core"} if own in SHARED else set(MAY_IMPORT))
    for name in imports(path):
        if name.startswith("webhook.") and package(name) in MAY_IMPORT:
            is_credentials = own == LIBRARY and name.startswith(CREDENTIALS)
            is_rights = own == SCANNING and name.startswith(RIGHTS)
            assert package(name) in may or is_credentials or is_rights, (
                f"{own} may not import {name}"
            )


ALSO_PURE: dict[str, set[str]] = {
    "simulation": {"copy", "jsonpatch"},
    "checks": {"datetime"},
    "scanning": set(),
    "terminal": {"argparse", "textwrap", "unicodedata"},
}
"""Pure as well, but not for serving: what works on documents, which a patch is applied to, what
judges an installation, whose certificates have times, and what reads the parser of the command
line. Each with what it may import besides.
"""
PURE_FILES = [path for path in FILES if path.relative_to(PACKAGE).parts[0] in {*PURE, *ALSO_PURE}]


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_pure_rooms_see_no_outside(path: Path) -> None:
    may = PURE_MAY | ALSO_PURE.get(path.relative_to(PACKAGE).parts[0], set())
    for name in imports(path):
        if name.startswith("webhook"):
            is_rights = SCANNING in path.parts and name.startswith(RIGHTS)
            assert package(name) in {*PURE, *PURE_SEES, *ALSO_PURE} or is_rights, (
                f"a pure package may not import {name}"
            )
        else:
            assert name.split(".")[0] in may, f"a pure package may not import {name}"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in FORBIDDEN_CALLS, (
                f"line {node.lineno}: the pure packages read no clock"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_kubernetes_is_imported_only_where_a_kubeconfig_is_read_and_by_its_adapters(
    path: Path,
) -> None:
    if path.name != "credentials.py" and path.parent.name != ADAPTERS:
        assert not [name for name in imports(path) if name.split(".")[0] == "kubernetes"]


EDITOR = "yamledit"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ruamel_is_imported_only_where_a_text_is_edited(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] != EDITOR:
        assert not [name for name in imports(path) if name.split(".")[0] == "ruamel"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_but_an_adapter_imports_an_adapter(path: Path) -> None:
    if path.parent.name != ADAPTERS:
        assert not [name for name in imports(path) if ADAPTERS in name.split(".")]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda path: path.parent.name
)
def test_a_rooms_door_holds_its_rule_and_no_imports(path: Path) -> None:
    if path.parent.name == LIBRARY:
        ours = [name for name in imports(path) if name.startswith("webhook")]
        assert {package(name) for name in ours} == {"core", LIBRARY}
    else:
        assert list(imports(path)) == []
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_and_no_function_outgrows_its_budget(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno < 50, f"{node.name} is too long"


def test_the_service_is_wiring_only() -> None:
    """What does something has a module of its own, which the service is given."""
    assert (PACKAGE / "serving/service.py").read_text().count("\n") < 200
