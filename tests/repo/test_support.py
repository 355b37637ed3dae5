"""What tests share stands in tests/support and beside the programs of tests/: nobody imports a
conftest.py or a test module for it.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
CONFTESTS = [path for path in FILES if path.name == "conftest.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(TESTS))


def imported_modules(path: Path) -> Iterator[str]:
    """Every module of tests/ that a file may import, lazy imports included; a name that is imported
    from a module is told as if it were a module of that package.
    """
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "tests")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_imports_a_conftest_or_a_test_module(path: Path) -> None:
    for name in imported_modules(path):
        for part in name.split("."):
            assert part != "conftest", f"{name}: a conftest.py is pytest's, not a module"
            assert not part.startswith("test_"), f"{name}: a test module shares nothing"


def is_of_pytest(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it is a fixture or a hook."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return function.name.startswith("pytest_") or any(
        decorator.startswith("pytest.fixture") for decorator in decorators
    )


@pytest.mark.parametrize("path", CONFTESTS, ids=name_of)
def test_a_conftest_has_fixtures_and_hooks_only(path: Path) -> None:
    _, *statements = ast.parse(path.read_text()).body  # the first is the docstring
    others = [
        ast.unparse(statement).splitlines()[0]
        for statement in statements
        if not isinstance(statement, ast.Import | ast.ImportFrom)
        and not (
            isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            and is_of_pytest(statement)
        )
    ]
    assert others == []


def test_the_demo_imports_no_pytest() -> None:
    """`make run` serves people who want to see boundtoken, not its tests."""
    code = "import sys; sys.modules['pytest'] = sys.modules['_pytest'] = None; import tests.demo"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
