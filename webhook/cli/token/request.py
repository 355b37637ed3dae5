"""`boundtoken token request`: a token of a service account, as `kubectl create token` gives it."""

import argparse

from ...errors import BadInput
from ...tokens import TokenRequest, TokenRequestSource
from .access import access


def request(parsed: argparse.Namespace) -> int:
    """Print the token."""
    chosen = access(parsed)
    try:
        wish = TokenRequest(chosen.namespace, parsed.account, tuple(parsed.audience))
    except ValueError as problem:
        raise BadInput(str(problem)) from None
    print(TokenRequestSource(chosen.server, wish).get())
    return 0
