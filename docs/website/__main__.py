"""`make site`: docs/ as a site, in site/. With --serve also on http://localhost:8000."""

import argparse
import functools
import http.server
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.website.staging import BadLink, staged

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
SETTINGS = Path(__file__).with_name("zensical.toml")
EXTRAS = ("extra.css", "extra.js")
TIMEOUT_SECONDS = 120


class BuildError(Exception):
    """What Zensical has printed, where it finds anything to warn of."""


def build(site: Path) -> None:
    """Write the site into a folder, in place of what was there.

    Raises: BuildError, also for a link or an anchor that leads nowhere; BadLink
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        shutil.copy(SETTINGS, here / SETTINGS.name)
        for name, content in staged(ROOT).items():
            path = here / "pages" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for extra in EXTRAS:
            shutil.copy(SETTINGS.with_name(extra), here / "pages")
        command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
        done = subprocess.run(  # noqa: S603  its own command, and no text of others
            command, cwd=here, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
        if done.returncode:
            raise BuildError(done.stdout + done.stderr)
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(here / "site", site)


def serve(site: Path) -> None:
    """Serve it on the loopback until Ctrl-C."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=site)
    with http.server.ThreadingHTTPServer(("localhost", 8000), handler) as server:
        sys.stdout.write("http://localhost:8000\n")
        server.serve_forever()


def main() -> int:
    """Build it, and serve it where that is requested. The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    try:
        build(SITE)
        sys.stdout.write(f"{SITE.name}/: {sum(1 for _ in SITE.rglob('*.html'))} pages\n")
        if arguments.serve:
            serve(SITE)
    except (BuildError, BadLink) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
