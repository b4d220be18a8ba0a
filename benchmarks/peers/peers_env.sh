#!/bin/sh
# .venv-peers: the other libraries of the daily merge, apart from the project's own environment. Does nothing where they are there already.
set -eu
cd "$(dirname "$0")/../.."
VENV=.venv-peers
PINS="duckdb==2.0.0 deltalake==1.6.6 pyarrow==25.0.1 polars==2.1.0 numpy==2.4.6"
[ "$(cat $VENV/.pins 2>/dev/null || true)" = "$PINS" ] && exit 0
[ -x $VENV/bin/python ] || "${PYTHON:-python3}" -m venv $VENV
echo '*' > $VENV/.gitignore
# shellcheck disable=SC2086
$VENV/bin/python -m pip install --quiet --only-binary :all: $PINS
echo "$PINS" > $VENV/.pins
