"""How the golden factory reads a warehouse and speaks to Headwater: the one file of it that follows
the code.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from headwater.cli.main import app
from headwater.digests import digest_of
from headwater.recipes import RECIPES
from headwater.store import Edition
from headwater.workspace import Workspace
from headwater.worlds.adsworld import SIZES, write_world

VARIANTS = "variants"  # the config's word


def recipe(data: Path) -> dict[str, Any]:
    return RECIPES["adsworld"].config(data, data)


def world(folder: Path) -> None:
    tiny = replace(
        SIZES["tiny"],
        users=120,
        items=40,
        impressions_a_day=400,
        organic_visits_a_day=150,
        days=6,
        matures_days=2,
    )
    write_world(folder, tiny, seed=7)


def some_user(data: Path, day: str) -> str:
    return str(pl.read_parquet(data / "impressions" / f"{day}.parquet")["user_id"][5])


def command(arguments: list[str]) -> None:
    app(arguments, standalone_mode=False)


def table(raw: dict[str, Any]) -> dict[str, Any]:
    """What a table says, in the words of today."""
    rows = raw["rows"]
    return {"first_day": raw["first_day"], "last_day": raw["last_day"], "rows": rows}


def record(path: Path) -> dict[str, Any]:
    """All that a warehouse holds of its days, as digests and figures."""
    main = Workspace.load(path)
    catalog = main.catalog()
    live = catalog.live
    found: dict[str, Any] = {"live": [live.lane, str(live.entry.day)], "lanes": {}}
    for name, lane in catalog.lanes.items():
        workspace = main.of_lane(name)
        layout, days = workspace.layout, lane.days
        found["lanes"][name] = {
            "withdrawn": [str(entry.day) for entry in lane.withdrawn],
            "days": {
                str(entry.day): entry.as_json() | {"edition": edition(workspace.open(entry))}
                for entry in days
            },
            "reports": {str(entry.day): report(layout.report(entry.day)) for entry in days},
            "scores": {
                f"{kind}/{file.parent.name}/{file.stem}": columns(pl.read_parquet(file))
                for kind, files in layout.scores().items()
                for file in files
            },
        }
    return found


def edition(made: Edition) -> dict[str, Any]:
    found = {}
    for name in made.snapshots:
        part = made.part(name)
        states, steps = part.gather(np.arange(part.rows))
        found[name] = {
            "digest": part.digest,
            "space": str(part.space),
            "rows": part.rows,
            "keys": digest_of(np.array(part.keys)),
            "seen": digest_of(np.array(part.column("seen"))),
            "vectors": digest_of(states),
            "steps": digest_of(steps),
            "ids": digest_of([str(value) for value in part.ids(np.arange(part.rows))]),
            "mean_size": float(np.abs(states).mean()),
        }
    return found


def report(path: Path) -> dict[str, Any]:
    raw = json.loads(path.read_text())
    found = {name: raw[name] for name in ("quality", "rows", "rejected", "coverage")}
    return found | {name: digest_of(raw[name]) for name in ("upstream", "snapshots")}


def columns(frame: pl.DataFrame) -> dict[str, str]:
    """A digest of each column of numbers; what says of what inputs an edition was made is the
    fingerprint's, and what a group is of the config's.
    """
    return {
        name: digest_of(frame[name].to_numpy())
        for name in frame.columns
        if name not in ("edition_inputs", "group_of")
    }


def machine() -> str:
    """What floating-point results depend on, beside the code."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    )
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown"
    )
    return f"{processor}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
