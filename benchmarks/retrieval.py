"""Retrieval of what users click next, by cosine alone and with the popularity prior.

Recall@k of one upstream in several adsworlds, or on KuaiRand's log (recipe kuairand_retrieval).

    python -m benchmarks.retrieval [--out DIR] [--worlds 0 1] [--upstream JSON] [--priors 0 .5 1]
    python -m benchmarks.retrieval --kuairand DATA [--upstream JSON] [--priors ...]

A minute a world (nine days, the last four judged), eight for KuaiRand, on two quiet cores;
resumable. No rival is asked: table T8 has them. Every query counts once.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from headwater.config import PriorConfig
from headwater.factory import Factory
from headwater.studies.retrieval.choosing import mean_recall
from headwater.studies.retrieval.days import RetrievalData, read_days
from headwater.studies.retrieval.ours import bias_of, rank_exact
from headwater.workspace import Workspace

UPSTREAM = {"tasks": ["click"], "size": "small", "contrastive_weight": 1.0}
DAYS, JUDGED = 9, 4
KS = (10, 50)


def run_factory(
    recipe: str, data: Path, out: Path, upstream: Mapping[str, Any], further: Sequence[str]
) -> Path:
    """A factory of that upstream alone, its days run; returns its factory.yaml."""
    path = out / "factory.yaml"
    if not path.is_file():
        command = [sys.executable, "-m", "headwater.cli.main", "init", recipe, *further]
        subprocess.run(
            [*command, "--data", data, "--out", out], check=True, stdout=subprocess.DEVNULL
        )
    raw = yaml.safe_load(path.read_text())
    last = dt.date.fromisoformat(str(raw["evaluation"]["end"]))
    begin = last - dt.timedelta(days=DAYS - 1)
    raw |= {"upstreams": {"ctr": dict(upstream)}, "downstream": {}}
    if recipe == "adsworld":
        judged = {"start": str(last - dt.timedelta(days=JUDGED - 1)), "end": str(last)}
        raw |= {"tasks": {"click": raw["tasks"]["click"]}, "evaluation": judged}
    else:
        # as the recipe's own page says: the earlier history first, then the log up to its last day
        begin = dt.date.fromisoformat(str(raw["evaluation"]["start"])) - dt.timedelta(days=17)
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    factory = Factory.load(path)
    for report in factory.backfill(begin, last):
        print(f"{out.name}, {report.day}", file=sys.stderr, flush=True)
    factory.close()
    return path


def recalls(data: RetrievalData, priors: Sequence[float]) -> dict[float, tuple[float, ...]]:
    """Mean recall@k over all queries, for each weight of the prior."""
    found: dict[float, tuple[float, ...]] = {}
    for weight in priors:
        by_k = dict.fromkeys(KS, 0.0)
        for day in data.judged:
            bias_N = bias_of(day, PriorConfig(weight=weight)) if weight else None
            rows_QK = rank_exact(day, max(KS), bias_N)
            for k in KS:
                by_k[k] += mean_recall(rows_QK, day, k) * len(day)
        queries = sum(len(day) for day in data.judged)
        found[weight] = tuple(total / queries for total in by_k.values())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("retrieval"))
    parser.add_argument("--worlds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--kuairand", type=Path, help="the folder of its data; then no worlds")
    parser.add_argument("--priors", type=float, nargs="+", default=[0.0, 0.25, 0.5, 1.0])
    parser.add_argument(
        "--upstream",
        type=json.loads,
        default={},
        help="settings of the upstream beside these or instead, as JSON; give each its own --out",
    )
    options = parser.parse_args()
    upstream = UPSTREAM | options.upstream
    print(f"{'':14}{'prior':>7}" + "".join(f"{f'recall@{k}':>12}" for k in KS))
    if options.kuairand:
        runs = [("kuairand_retrieval", options.kuairand, options.out / "kuairand", [])]
    else:
        runs = [
            ("adsworld", options.out / f"data-{n}", options.out / f"world-{n}", ["--seed", str(n)])
            for n in options.worlds
        ]
    for recipe, data, out, further in runs:
        path = run_factory(recipe, data, out, upstream, further)
        for weight, found in recalls(read_days(Workspace.load(path)), options.priors).items():
            print(f"{out.name:14}{weight:7g}" + "".join(f"{value:12.4f}" for value in found))


if __name__ == "__main__":
    main()
