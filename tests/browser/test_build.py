"""What is told where there is no browser and none can be had."""

import os
import subprocess
import sys
from pathlib import Path

from tests.browser.build import VARIABLE
from tests.support.paths import ROOT

INSTALL = f"the tests of pages need Chromium: install it, or set {VARIABLE} to its executable"


def build(**environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.browser.build"],
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_machine_without_a_browser_and_without_apt_is_told_what_to_do(tmp_path: Path) -> None:
    code, stderr = build(PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path), **{VARIABLE: ""})
    reason = "(it could not be taken from Debian's packages: there is no apt-get and no dpkg-deb)"
    assert (code, stderr) == (1, f"{INSTALL} {reason}\n")


def test_a_browser_that_does_not_start_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    broken.chmod(0o755)
    code, stderr = build(**{VARIABLE: str(broken)})
    assert (code, stderr) == (1, f"{INSTALL}\n{broken} fails:\nno display\n")


def test_a_browser_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "chromium"
    code, stderr = build(**{VARIABLE: str(missing)})
    assert code == 1
    assert stderr.startswith(f"{INSTALL}\n{missing} fails:\n")
