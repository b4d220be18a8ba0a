#!/bin/sh
# .venv-feast: Feast with its Dask and DuckDB offline stores, apart from the project's own environment. Does nothing where it is there already.
set -eu
cd "$(dirname "$0")/../.."
VENV=.venv-feast
PINS="feast[duckdb]==0.67.0 ibis-framework==12.0.0 duckdb==2.0.0 dask==2026.8.0 pandas==2.3.3 pyarrow==25.0.1 numpy==2.4.6 protobuf==7.36.2"
[ "$(cat $VENV/.pins 2>/dev/null || true)" = "$PINS" ] && exit 0
[ -x $VENV/bin/python ] || "${PYTHON:-python3}" -m venv $VENV
echo '*' > $VENV/.gitignore
# shellcheck disable=SC2086
$VENV/bin/python -m pip install --quiet $PINS
echo "$PINS" > $VENV/.pins
