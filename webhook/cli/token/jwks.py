"""`boundtoken token jwks`: the API server's keys as outside services see them."""

import argparse
import json
import ssl
from pathlib import Path
from typing import Any

from ...cluster.credentials import tls_context
from ...core.text import one_line
from ...errors import BadInput
from ...tokens import ApiServer
from ...tokens.federation import documents, upload
from ...tokens.federation.documents import (
    DISCOVERY_PATH,
    JWKS_PATH,
    Anonymous,
    Difference,
    Published,
)
from ..process import say
from .access import Access, access

WORDS = {
    200: "may read it",
    401: "refused: it takes no anonymous requests (401)",
    403: "may not read it (403)",
}


def jwks(parsed: argparse.Namespace) -> int:
    """Print issuer and keys, who may read them, and how a public issuer differs."""
    context = _context(parsed)
    chosen = access(parsed)
    cluster = documents.published(chosen.server)
    statuses = documents.anonymous_statuses(_anonymous(chosen))
    differences = (
        None if parsed.check is None else documents.differences(cluster, parsed.check, context)
    )
    notes = [] if differences == [] else documents.notes(cluster, statuses)
    files = upload.write_documents(Path(parsed.out), cluster) if parsed.out is not None else []
    if parsed.output == "json":
        print(json.dumps(_json(cluster, statuses, notes, differences, files), indent=2))
    else:
        _print(cluster, statuses, differences, parsed.check)
        for note in notes:
            say(note)
        for written in files:
            print(f"written     {written.file}, for {written.url}")
    if files:
        say("serve both as application/json")
    return 1 if differences else 0


def _context(parsed: argparse.Namespace) -> ssl.SSLContext:
    """What verifies the public issuer. Raises: BadInput"""
    if parsed.check is None:
        if parsed.ca_file is not None:
            raise BadInput("--ca-file goes with --check")
        return ssl.create_default_context()
    try:
        documents.check_issuer(parsed.check)
    except ValueError as problem:
        raise BadInput(f"--check={parsed.check!a}: {problem}") from None
    try:
        return ssl.create_default_context(cafile=parsed.ca_file)
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"--ca-file={parsed.ca_file!a}: must hold certificates in PEM: {getattr(problem, 'strerror', None) or problem}"
        ) from None


def _anonymous(chosen: Access) -> ApiServer:
    address = chosen.credentials.address()
    pem = address.authority.decode("ascii", "ignore")
    context = tls_context(address.tls_server_name, cadata=pem)
    if not address.is_verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return ApiServer(Anonymous(address.server, context))


def _print(
    cluster: Published,
    statuses: dict[str, int],
    differences: list[Difference] | None,
    issuer: str,
) -> None:
    lines = [
        f"issuer      {cluster.issuer}",
        f"jwks_uri    {cluster.jwks_uri}",
        f"algorithms  {' '.join(cluster.algorithms)}",
        *(
            f"key         {key.kid}  {key.kind}  {key.algorithm}  thumbprint {key.material}"
            for key in cluster.keys
        ),
        *(
            f"anonymous   {path}: {WORDS.get(status, f'no answer ({status})')}"
            for path, status in statuses.items()
        ),
        *(f"differs     {one.kind}: {one.text}" for one in differences or ()),
    ]
    if differences == []:
        lines.append(f"same        {issuer} has this issuer and these keys")
    for line in lines:
        print(one_line(line))


def _json(
    cluster: Published,
    statuses: dict[str, int],
    notes: list[str],
    differences: list[Difference] | None,
    files: list[upload.Upload],
) -> dict[str, Any]:
    return {
        "issuer": cluster.issuer,
        "jwksUri": cluster.jwks_uri,
        "discovery": cluster.discovery,
        "jwks": cluster.jwks,
        "keys": [
            {"kid": key.kid, "kind": key.kind, "alg": key.algorithm, "thumbprint": key.material}
            for key in cluster.keys
        ],
        "anonymous": {
            "discovery": statuses[DISCOVERY_PATH] == 200,  # noqa: PLR2004
            "jwks": statuses[JWKS_PATH] == 200,  # noqa: PLR2004
        },
        "notes": notes,
        "differences": None
        if differences is None
        else [{"kind": difference.kind, "text": difference.text} for difference in differences],
        "files": [{"file": str(written.file), "url": written.url} for written in files],
    }
