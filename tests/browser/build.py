"""The browser of the tests of pages: Chromium without a window.

The machine's own where it has one. Else Debian's packages of it and of what it needs, unpacked
once into `~/.cache/boundtoken` (or XDG_CACHE_HOME), which needs no root and changes nothing of the
machine: apt keeps its lists of packages beside them, and checks their signatures as ever.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.controlplane.build import cached

VARIABLE = "BOUNDTOKEN_CHROMIUM"
"""Names the executable, where the machine has one that is not found."""
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Under which a machine may have it."""
INSTALL = f"the tests of pages need Chromium: install it, or set {VARIABLE} to its executable"
PACKAGES = ("chromium-headless-shell", "fonts-inter", "fonts-liberation")
"""Of Debian: the browser, and fonts, so that a page looks the same on every machine."""
EXECUTABLE = "usr/lib/chromium/chromium-headless-shell"
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir>{folder}/fontconfig</cachedir>
  <alias binding="same"><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias binding="same"><family>monospace</family><prefer><family>Liberation Mono</family></prefer></alias>
</fontconfig>
"""


@dataclass(frozen=True)
class Browser:
    """An executable, and the variables of the environment in which it finds its libraries."""

    executable: Path
    environ: dict[str, str]


def browser() -> Browser:
    """The machine's Chromium, or Debian's, which is unpacked first where it is not there.

    Raises: RuntimeError, with what to do, where there is none and none can be had
    """
    if named := os.environ.get(VARIABLE):
        return Browser(Path(named), dict(os.environ))
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return Browser(Path(found), dict(os.environ))
    key = "\0".join([*PACKAGES, platform.machine(), _release(), FONTS])
    folder = cached("chromium", key.encode(), _unpack)
    fonts = folder / "fonts.conf"
    fonts.write_text(FONTS.format(folder=folder))
    libraries = sorted({str(path.parent) for path in (folder / "usr/lib").rglob("*.so*")})
    environ = {"LD_LIBRARY_PATH": ":".join(libraries), "FONTCONFIG_FILE": str(fonts)}
    return Browser(folder / EXECUTABLE, {**os.environ, **environ})


def version(chromium: Browser) -> str:
    """What it says of itself, such as Chromium 156.0.8078.108.

    Raises: RuntimeError, with its message, where it does not start
    """
    return _run(str(chromium.executable), "--version", environ=chromium.environ).strip()


def _unpack(path: Path) -> None:
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise RuntimeError(
            f"{INSTALL} (it could not be taken from Debian's packages: there is no {' and no '.join(missing)})"
        )
    print("fetching Chromium for the tests of pages (about 120 MB, once)", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        options = [
            "-q",
            f"-oDir::State::lists={here}/lists",
            f"-oDir::Cache={here}",
            f"-oDir::Cache::archives={here}/archives",
            "-oDebug::NoLocking=true",
            "-oAPT::Sandbox::User=root",
        ]
        for part in ("lists/partial", "archives/partial"):
            (here / part).mkdir(parents=True)
        # A source of other packages that does not answer is no problem; of these, it fails below.
        subprocess.run(["apt-get", *options, "update"], capture_output=True, check=False)
        flags = ["--yes", "--no-install-recommends", "--reinstall", "--download-only"]
        _run("apt-get", *options, *flags, "install", *PACKAGES)
        path.mkdir()
        for package in sorted((here / "archives").glob("*.deb")):
            _run("dpkg-deb", "--extract", str(package), str(path))


def _release() -> str:
    """Whose libraries it was unpacked for."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{system['ID']} {system.get('VERSION_ID', '')}"


def _run(*command: str, environ: dict[str, str] | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    except OSError as problem:
        raise RuntimeError(f"{INSTALL}\n{command[0]} fails:\n{problem}") from problem
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-15:]
        raise RuntimeError("\n".join([INSTALL, f"{command[0]} fails:", *lines]))
    return done.stdout


if __name__ == "__main__":
    try:
        chosen = browser()
        print(f"{chosen.executable}: {version(chosen)}")
    except RuntimeError as problem:
        sys.exit(str(problem))
