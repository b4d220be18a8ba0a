"""The golden factory: four small days with all that may go wrong in them, and a record of every
byte that came out.

    python -m golden.scenario record FILE      run it (in `tests/`) and write it down
    python -m golden.scenario compare A B      what differs between two records (exit 1)

Two upstreams (one with vectors of content), labels that mature two days late, a lane that is
aligned, an erasure and a rollback. It is driven through the commands, so that it outlives what is
moved behind them; `adapter.py` alone knows how a warehouse is read.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from golden import adapter

SALT = "5eed" * 8
TABLES = ("T2", "T3", "slices", "calibration", "T8", "staleness")


def day(n: int) -> str:
    """The n-th day of the world, from 0."""
    return f"2025-01-{6 + n:02d}"


def config_of(data: Path) -> dict[str, Any]:
    """adsworld's recipe, cut to seconds: small models, one seed, no worker processes."""
    raw = copy.deepcopy(adapter.recipe(data))
    small = {"seeds": [0, 1], "hidden": 8, "feature_width": 4, "id_buckets": 200, "batch_rows": 128}
    raw["downstream"]["ctr"] |= small | {
        adapter.VARIANTS: ["none", "ctr_user+ctr_item", "all", "shuffled"]
    }
    raw["downstream"]["cvr"] |= small | {
        adapter.VARIANTS: ["none", "all"],
        "sequence": {"length": 0},
    }
    for upstream in raw["upstreams"].values():
        upstream |= {"size": "tiny", "id_buckets": 200, "epochs": 1}
    raw["upstreams"]["ctr"]["content_vectors"] = ["item"]
    raw["lanes"] = {"v2": {"upstreams": {"ctr": {"seed": 7}, "cvr": {"seed": 7}}}}
    raw["lifecycle"]["align"] = {"min_shared": 10, "min_cosine": -1, "max_residual": 9}
    raw["evaluation"] = {"start": day(1)}
    raw["store"]["bucket_rows"] = 32
    return raw | {"workers": 0}


def run(folder: Path) -> dict[str, Any]:
    """Make the world and the factory in `folder`, live through its days, and return the record."""
    adapter.world(folder / "world")
    path = folder / "factory.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(config_of(folder / "world")))))

    def headwater(*arguments: str) -> Any:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            adapter.command([*arguments, "--factory", str(path), "--json"])
        return json.loads(printed.getvalue())

    gone = adapter.some_user(folder / "world", day(0))
    with mock.patch.object(secrets, "token_hex", return_value=SALT):
        headwater("backfill", "--from", day(0), "--to", day(1), "--no-report")
        headwater("erase", "user", gone)
        headwater("run", "--day", day(2))
        headwater("run", "--day", day(3), "--lane", "main")
        headwater("rollback", "--to", day(2))
        headwater("align", "--lane", "v2")
        headwater("run", "--day", day(3))
        headwater("rollback", "--to", day(2))
        headwater("promote", day(3))
    found = adapter.record(path)
    found["tables"] = {name: adapter.table(headwater("lift", "--table", name)) for name in TABLES}
    return found | {"machine": adapter.machine()}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """A record as one line a leaf."""
    if isinstance(value, dict):
        parts = [flat(inner, f"{path}/{name}") for name, inner in value.items()]
    elif isinstance(value, list):
        parts = [flat(inner, f"{path}/{place}") for place, inner in enumerate(value)]
    else:
        return {path: value}
    return {name: leaf for part in parts for name, leaf in part.items()}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Every leaf that is not the same in both, to the byte."""
    a, b = flat(one), flat(other)
    missing = object()
    return [
        f"{name}: {a.get(name, 'not there')!r} | {b.get(name, 'not there')!r}"
        for name in dict.fromkeys([*a, *b])
        if a.get(name, missing) != b.get(name, missing)
    ]


def main(verb: str, *files: str) -> int:
    if verb == "record":
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder))
        Path(files[0]).write_text(json.dumps(found, indent=1) + "\n")
        return 0
    one, other = (json.loads(Path(file).read_text()) for file in files)
    found = differences(one, other)
    print("\n".join(found) or "the same, to the byte")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
