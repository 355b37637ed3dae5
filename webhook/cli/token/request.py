"""`boundtoken token request`: a token of a service account, as `kubectl create token` gives it."""

import argparse
import json
import sys

from ...tokens.kubectl.create import CreatedToken, without_managed_fields
from ...tokens.kubectl.exec_credential import exec_credential, timestamp
from .access import access
from .new import created_token, located, new_token


def request(parsed: argparse.Namespace) -> int:
    """Print the token, or what -o makes of it."""
    new = new_token(parsed)
    chosen = access(parsed)
    created = created_token(chosen, located(new, parsed, chosen))
    print(_output(created, parsed), end="" if parsed.output == "token" else "\n")
    return 0


def _output(created: CreatedToken, parsed: argparse.Namespace) -> str:
    token, expires_at = created.issued.text, created.issued.expires_at
    answer = created.answer
    if not parsed.show_managed_fields:
        answer = without_managed_fields(answer)
    match parsed.output:
        case "json":
            return json.dumps(answer, indent=4)
        case "yaml":
            import yaml  # noqa: PLC0415  (the other forms do without)

            return str(yaml.safe_dump(answer)).rstrip("\n")
        case "env":
            return f"TOKEN={token}\nTOKEN_EXPIRATION_TIMESTAMP={timestamp(expires_at)}"
        case "exec-credential":
            return json.dumps(exec_credential(token, expires_at))
    # As kubectl does: a newline only for people.
    return token + "\n" * _is_terminal()


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()
