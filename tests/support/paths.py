"""Where the repository is, and the command that its virtual environment has."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOUNDTOKEN = Path(sys.executable).parent / "boundtoken"
