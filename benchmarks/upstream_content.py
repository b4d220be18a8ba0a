"""What content alone gains, by how long an ad has been shown: a content-only upstream in several
adsworlds, the CTR ranker's lift by slice, pooled. An ad never seen before that day was created on
that day, so it has no vector: its rows show what a ranker that reads vectors loses without one.

    python -m benchmarks.upstream_content [--out DIR] [--worlds 3 4 5]
        [--seeds 0 1 2] [--upstream JSON]

Two minutes a world on two quiet cores; resumable.

The upstream's settings were chosen on worlds 0 and 1, so these are not among the worlds that are
judged. Intervals: paired, over users, items and seeds of the ranker (`lift_table`). A user or item
of one world is never one of another.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from headwater.config import SHUFFLED
from headwater.evaluation import Judged, lift_table
from headwater.factory import Factory
from headwater.studies.judged import pooled
from headwater.studies.slice_rows import slices_of
from headwater.workspace import Workspace

UPSTREAM = {
    "tasks": ["click", "long_click", "purchase"],
    "size": "small",
    "ids": False,
    "content_vectors": ["user", "item"],
    "contrastive_weight": 0.5,
    "dhen": {
        "layers": [["linear"]]
    },  # deeper towers learn a world's few hundred ads by heart, and tell less of the next one
}
VARIANTS = ("none", "all", SHUFFLED)


def run_world(out: Path, world: int, upstream: Mapping[str, Any], seeds: Sequence[int]) -> Path:
    """A factory on the world of that seed, its days run; returns its factory.yaml."""
    path = out / f"factory-{world}" / "factory.yaml"
    if not path.is_file():
        command = [
            sys.executable,
            "-m",
            "headwater.cli.main",
            "init",
            "adsworld",
            "--data",
            out / f"world-{world}",
            "--out",
            path.parent,
            "--seed",
            str(world),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    raw = yaml.safe_load(path.read_text())
    raw |= {
        "upstreams": {"content": dict(upstream)},
        "downstream": {
            "ctr": raw["downstream"]["ctr"] | {"variants": list(VARIANTS), "seeds": list(seeds)}
        },
    }
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    factory = Factory.load(path)
    last = dt.date.fromisoformat(str(raw["evaluation"]["end"]))
    for report in factory.backfill(last - dt.timedelta(days=13), last):
        print(f"world {world}, {report.day}", file=sys.stderr, flush=True)
    factory.close()
    return path


def slices_in(path: Path, world: int) -> dict[str, Judged]:
    workspace = Workspace.load(path)
    judged = pooled(workspace, "ctr")
    apart = replace(judged, scores={variant: judged.scores[variant] for variant in VARIANTS})
    found = {
        f"{name} {value}": apart.take(np.flatnonzero(rows))
        for name, value, rows in slices_of(workspace, "ctr", apart)
        if name in ("user", "item")
    }
    return {
        name: replace(
            part,
            users_N=part.users_N ^ np.uint64(world << 56),
            items_N=part.items_N ^ np.uint64(world << 56),
        )
        for name, part in found.items()
    }


def together(parts: list[Judged]) -> Judged:
    scores = {
        variant: {
            seed: np.concatenate([part.scores[variant][seed] for part in parts])
            for seed in parts[0].scores[variant]
        }
        for variant in VARIANTS
    }
    labels, users, days, items = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("labels_N", "users_N", "days_N", "items_N")
    )
    return Judged(labels, users, days, scores, items)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("content"))
    parser.add_argument("--worlds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the ranker")
    parser.add_argument(
        "--upstream",
        type=json.loads,
        default={},
        help=(
            "settings of the upstream beside these or instead, as JSON; give each a folder of"
            " its own"
        ),
    )
    options = parser.parse_args()
    upstream = UPSTREAM | options.upstream
    worlds = [
        slices_in(run_world(options.out, world, upstream, options.seeds).resolve(), world)
        for world in options.worlds
    ]
    print(f"{'rows of':34}{'rows':>9}  {'lift % (95 % interval)':28}shuffled")
    for name in worlds[0]:
        judged = together([world[name] for world in worlds])
        found = {lift.variant: lift for lift in lift_table(judged, 0.95)}
        lifts = [found[variant] for variant in ("all", SHUFFLED)]
        cells = [
            f"{lift.roc_auc_lift_pct:+.2f} ({lift.low:+.2f}, {lift.high:+.2f})" for lift in lifts
        ]
        print(f"{name:34}{len(judged.labels_N):9,}  {cells[0]:28}{cells[1]}")


if __name__ == "__main__":
    main()
