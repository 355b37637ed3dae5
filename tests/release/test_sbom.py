"""What is in the image, in both formats: exactly the locked packages, each with its licence, and
the base image. Both formats are read back by other code than wrote them.
"""

import importlib.metadata
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from spdx_tools.spdx.parser.error import SPDXParsingError
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from docs.release import sbom
from tests.support.paths import ROOT
from webhook import __version__

LOCK = dict(
    re.findall(
        r"^([a-z0-9.-]+)==([^ ;\\]+)", (ROOT / "requirements-image.lock").read_text(), re.MULTILINE
    )
)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The metadata of the image's packages, of which the SBOM is made, from this environment."""
    folder = tmp_path_factory.mktemp("layer") / "lib"
    for name in ("boundtoken", *LOCK):
        (found,) = importlib.metadata.distributions(name=name)
        files = Path(str(found.locate_file(""))) / Path(str(found._path)).name  # type: ignore[attr-defined]
        shutil.copytree(files, folder / files.name)
        (folder / files.name / "direct_url.json").unlink(missing_ok=True)  # of an editable install
    return folder


@pytest.fixture(scope="module")
def written(library: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    cdx, spdx = sbom.write(library, tmp_path_factory.mktemp("sbom"))
    return cdx, spdx


@pytest.fixture(scope="module")
def bom(written: tuple[Path, Path]) -> dict[str, Any]:
    return dict(json.loads(written[0].read_text()))


def test_it_has_exactly_the_locked_packages_and_the_base_image(bom: dict[str, Any]) -> None:
    libraries = {
        normalized(one["name"]): one["version"]
        for one in bom["components"]
        if one["type"] == "library"
    }
    assert libraries == LOCK
    (base,) = [one for one in bom["components"] if one["type"] != "library"]
    reference = f" {base['name']}:nonroot@{base['version']}\n"
    assert f"\nFROM --platform=linux/$TARGETARCH{reference}" in (ROOT / "Dockerfile").read_text()
    root = bom["metadata"]["component"]
    assert (root["name"], root["version"], root["type"]) == (
        "boundtoken",
        __version__,
        "application",
    )
    (ours,) = [one for one in bom["dependencies"] if one["ref"] == root["bom-ref"]]
    names = {normalized(reference.partition("==")[0]) for reference in ours["dependsOn"]}
    assert {"aiohttp", "cryptography", "msgspec", "uvloop"} <= names <= set(LOCK)


def test_every_package_has_a_licence_that_allows_to_pass_it_on(bom: dict[str, Any]) -> None:
    allowed = {
        *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "MIT-0", "PSF-2.0", "Python-2.0"),
    }
    for one in [bom["metadata"]["component"], *bom["components"]]:
        if one["type"] != "container":
            words = set(re.findall(r"[A-Za-z0-9.-]+", sbom.licence(one))) - {"AND", "OR"}
            assert words, one["name"]
            assert words <= allowed, one["name"]


def test_an_invalid_cyclonedx_is_seen(written: tuple[Path, Path]) -> None:
    """What was written has been checked so."""
    with pytest.raises(ValueError, match="CycloneDX: "):
        sbom.check(written[0].read_text().replace('"urn:uuid:', '"urn:'))


def test_spdx_is_valid_and_says_the_same(written: tuple[Path, Path], bom: dict[str, Any]) -> None:
    document = parse_file(str(written[1]))
    assert validate_full_spdx_document(document) == []
    components = [bom["metadata"]["component"], *bom["components"]]
    assert {
        (package.name, package.version, str(package.license_declared))
        for package in document.packages
    } == {(one["name"], one["version"], sbom.licence(one) or "NOASSERTION") for one in components}
    described = [
        one.related_spdx_element_id
        for one in document.relationships
        if one.relationship_type.name == "DESCRIBES"
    ]
    assert [package.name for package in document.packages if package.spdx_id in described] == [
        "boundtoken"
    ]


def test_an_invalid_spdx_is_seen(written: tuple[Path, Path], tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.spdx.json"
    spoilt.write_text(written[1].read_text().replace('"name": "aiohttp",', ""))
    with pytest.raises(SPDXParsingError):
        parse_file(str(spoilt))


@pytest.mark.slow("it is made a second time")
def test_it_is_the_same_again(library: Path, written: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path / "elsewhere")
    again = sbom.write(tmp_path / "elsewhere", tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


@pytest.mark.parametrize(
    ("licences", "expression"),
    [
        ([{"expression": "Apache-2.0 OR BSD-3-Clause"}], "Apache-2.0 OR BSD-3-Clause"),
        (
            [{"expression": "A-nothing OR MIT"}, {"license": {"id": "MIT"}}],
            "(A-nothing OR MIT) AND MIT",
        ),
        (
            [{"license": {"name": "License :: OSI Approved :: Apache Software License"}}],
            "Apache-2.0",
        ),
        ([{"license": {"id": "MIT"}}, {"license": {"name": "some words"}}], ""),
        ([], ""),
    ],
)
def test_the_licence_of_a_component(licences: list[Any], expression: str) -> None:
    assert sbom.licence({"licenses": licences}) == expression
