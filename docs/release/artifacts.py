"""The files of a release, each made by a function into a folder. All but the chart, which helm
packs with the time, are the same to the byte when they are made again by the same Python.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.krew import build as krew_build

from . import layer, sbom, version

ROOT = layer.ROOT
RUNBOOKS = "https://boundtoken.dev/docs/runbooks"
"""Where the values of the chart look for the pages of the alerts."""
IMAGE = "boundtoken"
"""The image's name in the manifests."""
INTERPRETER = "/usr/bin/python{}.{}".format(*layer.IMAGE_PYTHON)
NOTES = "notes.txt"
MAX_NOTES = 100_000
"""Characters; GitHub takes 125,000."""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BACKEND = "import sys; from flit_core import buildapi; buildapi.{}(sys.argv[1])"


def python_packages(folder: Path, root: Path = ROOT) -> list[Path]:
    """The wheel and the sdist, by the locked build backend.

    Raises: subprocess.CalledProcessError
    """
    folder.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch(root))}
    for made in ("build_wheel", "build_sdist"):
        _run(sys.executable, "-c", _BACKEND.format(made), str(folder), cwd=root, environ=environ)
    return sorted(folder.iterdir())


def image(folder: Path, machines: tuple[str, ...] = tuple(layer.MACHINES)) -> list[Path]:
    """The digests of our layer for each processor, and the SBOMs of the first.

    Raises: subprocess.CalledProcessError, ValueError
    """
    python = image_python() or sys.executable
    release = _run(python, "-c", "import platform; print(platform.python_version())").strip()
    layers, boms = [], []
    for machine in machines:
        with tempfile.TemporaryDirectory() as place:
            made = layer.make(Path(place), INTERPRETER, machine, python)
            content = layer.packed(Path(place))
            if not boms:
                boms = sbom.write(made / "lib", folder)
        layers.append(
            {
                "platform": f"linux/{machine}",
                "digest": layer.digest(content),
                "size": len(content),
                "compressedSize": len(gzip.compress(content, compresslevel=6, mtime=0)),
            }
        )
    found = {"python": release, "isOfImage": release == layer.IMAGE_RELEASE, "layers": layers}
    path = folder / "image-layers.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    return [path, *boms]


def image_python() -> str | None:
    """A Python of the image's minor release, whose bytecode is the image's: the variable
    IMAGE_PYTHON, or that of PATH.
    """
    name = "python{}.{}".format(*layer.IMAGE_PYTHON)
    path = os.environ.get("IMAGE_PYTHON") or shutil.which(name)
    if path is None:
        return None
    # A shim of pyenv is there for releases that are not chosen as well, and refuses to run.
    command = [path, "-c", "import pip, sys; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return path if f"python{done.stdout.strip()}" == name else None


def install_manifest(folder: Path, name: str, digest: str = "") -> list[Path]:
    """install.yaml: the manifests with an image, by its digest where there is one.

    Raises: subprocess.CalledProcessError, of kubectl; ValueError, for a digest that is none
    """
    if digest and not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!a}: must be sha256: and 64 hexadecimal digits")
    release = version.current()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        content = {
            "resources": [os.path.relpath(ROOT / "manifests", Path(place).resolve())],
            "images": [
                {"name": IMAGE, "newName": name}
                | ({"digest": digest} if digest else {"newTag": release})
            ],
        }
        (Path(place) / "kustomization.yaml").write_text(json.dumps(content))
        rendered = _run("kubectl", "kustomize", place)
    path = folder / "install.yaml"
    path.write_text(
        f"# boundtoken {release}, with the defaults of manifests/35-configmap.yaml, which applying it again brings back:\n"
        f"# a configuration of your own belongs into an overlay or into the values of the chart (README.md, Install).\n{rendered}"
    )
    return [path]


def notes(folder: Path, name: str, digest: str = "") -> list[Path]:
    """What the changelog says of the version, or of what is unreleased, and what the image is.

    Raises: ValueError, where it says nothing, or more than a release can hold
    """
    release = version.current()
    text = version.section(release) or version.section("Unreleased")
    if not 0 < len(text) <= MAX_NOTES:
        raise ValueError(
            f"CHANGELOG.md: the section of {release} must have text, at most {MAX_NOTES}"
        )
    path = folder / NOTES
    place = f"{name}@{digest}" if digest else f"{name}:{release}"
    path.write_text(
        f"Image: `{place}`. How to install and to verify it: README.md, RELEASE.md.\n\n{text}\n"
    )
    return [path]


def chart(folder: Path, name: str, digest: str = "", url: str = "") -> list[Path]:
    """The chart with the image of the release in its values and links to the sources of the
    release, which is downloaded from `url`; packed by helm. Nothing where there is no chart or no
    helm (the variable HELM, or of PATH).

    Raises: subprocess.CalledProcessError, of helm; ValueError, where the values name no image
    """
    helm = os.environ.get("HELM") or shutil.which("helm")
    source = ROOT / "manifests/chart"
    if helm is None or not (source / "Chart.yaml").exists():
        return []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / IMAGE
        shutil.copytree(source, copy)
        values = copy / "values.yaml"
        values.write_text(with_image(values.read_text(), name, digest))
        if source_url := sources(url):
            for file in ("README.md", "values.yaml", "Chart.yaml"):
                (copy / file).write_text(linked((copy / file).read_text(), source_url))
        _run(helm, "lint", "--strict", str(copy))
        _run(helm, "package", "--destination", str(folder), str(copy))
    return [folder / f"{IMAGE}-{version.current()}.tgz"]


def with_image(values: str, name: str, digest: str) -> str:
    """The chart's values with the image of the release. Raises: ValueError"""
    for key, before, after in (("repository", IMAGE, name), ("digest", '""', f'"{digest}"')):
        values, count = re.subn(
            rf"(?m)^(  {key}: ){re.escape(before)}$",
            lambda found, new=after: found[1] + new,
            values,
        )
        if count != 1:
            raise ValueError(f"values.yaml: image.{key} must be {before}, once")
    return values


def sources(url: str) -> str:
    """Where the files of a release's commit are read, of where it is downloaded; empty where that
    is no release of a repository.
    """
    found = re.fullmatch(r"(https://[^/]+/[^/]+/[^/]+)/releases/download/([^/]+)", url)
    return f"{found[1]}/blob/{found[2]}" if found else ""


def linked(text: str, source_url: str) -> str:
    """A file of the chart with absolute links: once it is packed, `../` leads nowhere. Chart.yaml
    also gets the repository as its home.
    """
    text = re.sub(r"\]\(\.\./\.\./(?=[^)]+\))", f"]({source_url}/", text)
    text = re.sub(r"\]\(\.\./(?=[^)]+\))", f"]({source_url}/manifests/", text)
    text = text.replace(RUNBOOKS, f"{source_url}/docs/runbooks")
    repository = source_url.partition("/blob/")[0]
    home = f"home: {repository}\nsources: [{repository}]\nkeywords: "
    return re.sub(r"^keywords: ", home, text, flags=re.MULTILINE)


def krew(folder: Path, url: str) -> list[Path]:
    """Archives and manifest of the plugin of kubectl, for all processors."""
    krew_build.write(folder, url, tuple(krew_build.MACHINES), krew_build.PYTHONS)
    return sorted(folder.iterdir())


def checksums(folder: Path) -> list[Path]:
    """SHA256SUMS of all files below a folder that a release has, by their names alone; its notes
    are no file of it.

    Raises: ValueError, for two files of one name
    """
    path = folder / "SHA256SUMS"
    path.unlink(missing_ok=True)
    files = sorted(
        (file for file in folder.rglob("*") if file.is_file() and file.name != NOTES),
        key=lambda file: file.name,
    )
    if len({file.name for file in files}) != len(files):
        raise ValueError(f"{folder}: the names of the files must differ")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    path.write_text("".join(lines))
    return [path]


def epoch(root: Path = ROOT) -> int:
    """SOURCE_DATE_EPOCH, or the time of the last commit, or that of the layer outside of git."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return int(done.stdout) if done.returncode == 0 else layer.EPOCH


def _run(*command: str, cwd: Path = ROOT, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
    return done.stdout
