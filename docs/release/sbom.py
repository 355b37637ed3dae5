"""What is in the image, as CycloneDX and as SPDX: the packages of its layer with versions and
licences, by their own metadata, and the base image by its digest.

cyclonedx-py reads the layer as an environment of Python. SPDX is written from what it found, by the
SPDX project's library, so that both say the same.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
import venv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.package import (
    ExternalPackageRef,
    ExternalPackageRefCategory,
    Package,
)
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from spdx_tools.spdx.writer.write_anything import write_file

from . import layer

NAME = "boundtoken"
SPDX_VERSION = "SPDX-2.3"
CLASSIFIERS = {"License :: OSI Approved :: Apache Software License": "Apache-2.0"}
"""What packages without an expression say; the classifier of Apache names no version, and all of
ours are of the second.
"""


def cyclonedx(library: Path) -> dict[str, Any]:
    """The packages in a folder and the base image, in CycloneDX's JSON.

    Raises: subprocess.CalledProcessError, of cyclonedx-py
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = Path(folder)
        venv.create(environment, with_pip=False)
        (packages,) = environment.glob("lib/python3*/site-packages")
        (packages / "layer.pth").write_text(f"{library}\n")
        tool = Path(sys.executable).with_name("cyclonedx-py")
        done = subprocess.run(  # noqa: S603
            [
                *(str(tool), "environment", "--output-reproducible", "--no-validate"),
                *("-o", "-", str(environment)),
            ],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(_epoch())},
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout)
    (ours,) = [one for one in found["components"] if one["name"] == NAME]
    found["components"].remove(ours)
    found["components"].append(_base())
    found["metadata"]["component"] = {**ours, "type": "application"}
    # The same for the same content, so that two builds have one SBOM.
    content = json.dumps(found, sort_keys=True)
    found["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    return found


def _base() -> dict[str, Any]:
    """The image that the last stage of the Dockerfile begins with."""
    dockerfile = (layer.ROOT / "Dockerfile").read_text()
    name, tag, digest = re.findall(r"^FROM \S+ (\S+):(\S+)@(\S+)$", dockerfile, re.MULTILINE)[-1]
    short = name.rpartition("/")[2]
    purl = f"pkg:oci/{short}@{digest.replace(':', '%3A')}?repository_url={name}&tag={tag}"
    return {
        "type": "container",
        "bom-ref": "base-image",
        "name": name,
        "version": digest,
        "purl": purl,
    }


def licence(component: dict[str, Any]) -> str:
    """The SPDX expression of a component; all that it names where there are several, empty where
    it names none that is known.
    """
    names = []
    for one in component.get("licenses") or ():
        of_one = one.get("license") or {}
        name = one.get("expression") or of_one.get("id") or CLASSIFIERS.get(of_one.get("name", ""))
        if name is None:
            return ""
        names.append(f"({name})" if " " in name else name)
    return str(get_spdx_licensing().parse(" AND ".join(names))) if names else ""


def spdx(bom: dict[str, Any]) -> Document:
    """The same as an SPDX document.

    Raises: ValueError, where it is not valid
    """
    root = bom["metadata"]["component"]
    creation = CreationInfo(
        spdx_version=SPDX_VERSION,
        spdx_id="SPDXRef-DOCUMENT",
        name=f"{NAME}-{root['version']}",
        document_namespace=f"https://boundtoken.dev/sbom/{bom['serialNumber'].rpartition(':')[2]}",
        creators=[Actor(ActorType.TOOL, "boundtoken-docs-release-sbom")],
        created=datetime.fromtimestamp(_epoch(), UTC).replace(tzinfo=None),
    )
    components = [root, *bom["components"]]
    document = Document(creation, packages=[_package(one) for one in components])
    document.relationships = [
        Relationship("SPDXRef-DOCUMENT", RelationshipType.DESCRIBES, _identifier(root["bom-ref"])),
        *(
            Relationship(_identifier(one["ref"]), RelationshipType.DEPENDS_ON, _identifier(other))
            for one in bom["dependencies"]
            for other in one.get("dependsOn") or ()
        ),
    ]
    if faults := validate_full_spdx_document(document):
        raise ValueError("; ".join(fault.validation_message for fault in faults))
    return document


def _package(component: dict[str, Any]) -> Package:
    declared = licence(component)
    parsed = get_spdx_licensing().parse(declared) if declared else SpdxNoAssertion()
    return Package(
        spdx_id=_identifier(component["bom-ref"]),
        name=component["name"],
        version=component["version"],
        download_location=SpdxNoAssertion(),
        files_analyzed=False,
        license_concluded=parsed,
        license_declared=parsed,
        copyright_text=SpdxNoAssertion(),
        external_references=[
            ExternalPackageRef(
                ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", component["purl"]
            )
        ],
    )


def _identifier(reference: str) -> str:
    return f"SPDXRef-{re.sub('[^A-Za-z0-9.-]', '-', reference)}"


def _epoch() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH") or layer.EPOCH)


def check(text: str) -> None:
    """Raises: ValueError, where a text is no valid CycloneDX"""
    if (fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise ValueError(f"CycloneDX: {fault}")


def write(library: Path, folder: Path) -> list[Path]:
    """Write both of a folder of packages; gives their paths. Raises: as the three above."""
    bom = cyclonedx(library)
    text = json.dumps(bom, indent=2, sort_keys=True) + "\n"
    check(text)
    paths = [folder / f"{NAME}.cdx.json", folder / f"{NAME}.spdx.json"]
    paths[0].write_text(text)
    write_file(spdx(bom), str(paths[1]), validate=False)
    return paths
