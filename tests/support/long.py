"""How much is done each time, and how much by `make long`."""

import os

LONG = os.environ.get("BOUNDTOKEN_LONG") == "1"
