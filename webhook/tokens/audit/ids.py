"""The credential ids of tokens."""

import re

UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
"""What the API server issues. An external signer may issue other texts."""
ID = re.compile(r"[A-Za-z0-9._:-]{8,128}", re.ASCII)
"""Long enough to be in no other line by chance, and written the same in JSON."""


def is_credential_id(text: str) -> bool:
    return ID.fullmatch(text) is not None
