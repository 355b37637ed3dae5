"""`python -m webhook`, the same as the command `boundtoken`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
