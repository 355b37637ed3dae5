#!/bin/sh
# A CA and a leaf for work on this machine, in certs/dev: made by our own code. They never enter git.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/boundtoken certs init --out certs/dev "$@"
