"""A retraining beside the live lane: what a ranker of the old space makes of the new one raw,
aligned, and after its own retraining.

    python -m benchmarks.alignment RECIPE DATA OUT [--first DAY --days N --switch N]

Runs a factory (CTR ranker only, three seeds) with a second lane whose upstreams start from another
seed, day by day. On the switch day one rotation an upstream is fitted (half of the shared entities)
and measured (the other half); from then on every day's traffic is predicted by the main lane's
ranker reading: the old space; the new space raw; the new space turned; averages that went on across
the switch with raw new vectors, and with turned ones; and by the ranker that the lane trained for
itself. Lifts are against the same ranker without embeddings. OUT/across-spaces.json has all
figures.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from headwater.cli.terminal import plain_table, show_table
from headwater.config import load_config
from headwater.console import Console
from headwater.embeddings import Served
from headwater.embeddings.alignment import Rotation
from headwater.evaluation import Judged, lift_table
from headwater.lifecycle.align import fit_editions
from headwater.models.downstream import VariantTask, predict_variant
from headwater.pipeline.day import Factory, _rows_to_predict, _variant_folder, read_day
from headwater.recipes import RECIPES
from headwater.store import Edition, EditionStore

ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Stand:
    """An edition read as if it were in another space: what View refuses, done on purpose. `turns`
    by upstream, if any.
    """

    edition: Edition
    day: dt.date
    turns: dict[str, Rotation]

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        assert rows_of > self.day
        served = self.edition.lookup(name, keys_N, rows_of)
        turn = self.turns.get(served.space.upstream)
        return (
            served
            if turn is None
            else Served(
                turn.target, served.vectors_ND @ turn.matrix_DD, served.found_N, served.age_days_N
            )
        )


def make_config(recipe: str, data: Path, out: Path) -> Path:
    raw = json.loads(json.dumps(RECIPES[recipe].config(data, data.resolve())))
    raw["downstream"] = {"ctr": {**raw["downstream"]["ctr"], "variants": ["none", "all"]}}
    raw["lanes"] = {"v2": {"upstreams": {name: {"seed": 7} for name in raw["upstreams"]}}}
    out.mkdir(parents=True, exist_ok=True)
    (out / "factory.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return out / "factory.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument(
        "--switch",
        type=int,
        default=9,
        help="the day, counted from 1, after which the new space could take over",
    )
    options = parser.parse_args()
    path = make_config(options.recipe, options.data, options.out)
    console = Console()
    old, new = Factory.load(path, console), Factory.load(path, console, "v2")
    switch, last = (
        options.first + (options.switch - 1) * ONE_DAY,
        options.first + (options.days - 1) * ONE_DAY,
    )
    scores: dict[str, dict[int, list[np.ndarray]]] = {}
    labels, users, days = [], [], []
    turns: dict[str, Rotation] = {}
    crossing: dict[str, Edition] = {}
    figures: dict[str, Any] = {}
    day = options.first
    while day < last:
        for factory in (old, new):
            factory.run_day(day)
        if day == switch:
            fits = fit_editions(new.workspace.edition(day), old.workspace.edition(day))
            turns, figures = (
                {name: fit.rotation for name, fit in fits.items()},
                {name: fit.as_json() for name, fit in fits.items()},
            )
            crossing = dict.fromkeys(
                ("averaged raw", "averaged aligned"), old.workspace.edition(day)
            )
        elif day > switch:
            for kind in crossing:
                crossing[kind] = cross(
                    old,
                    new,
                    day,
                    crossing[kind],
                    turns,
                    options.out / kind.replace(" ", "-"),
                    kind == "averaged aligned",
                )
        if day >= switch:
            tomorrow = day + ONE_DAY
            inputs = read_day(old, tomorrow)
            rows = inputs.examples[
                old.config.tasks[old.config.downstream["ctr"].task].log, tomorrow
            ]
            rows = rows.take(_rows_to_predict(old, inputs, "ctr"))
            plans = {
                factory: {plan.variant.name: plan for plan in factory.run.rankers}
                for factory in (old, new)
            }
            ways = {
                "none": (old, "none", old.workspace.edition(day), {}),
                "old space": (old, "all", old.workspace.edition(day), {}),
                "new space raw": (old, "all", new.workspace.edition(day), {}),
                "new space aligned": (old, "all", new.workspace.edition(day), turns),
                "new space, ranker retrained": (new, "all", new.workspace.edition(day), {}),
                **{kind: (old, "all", edition, {}) for kind, edition in crossing.items()},
            }
            for name, (factory, variant, edition, turned) in ways.items():
                plan = plans[factory][variant]
                task = VariantTask(
                    plan,
                    tomorrow,
                    plan.reads(rows),
                    Stand(edition, day, turned),
                    _variant_folder(factory, plan, day),
                    options.out,
                    "",
                )
                for seed, found in predict_variant(task).items():
                    scores.setdefault(name, {}).setdefault(seed, []).append(found)
            labels.append(rows.labels[plan.config.task])
            users.append(rows.keys["user"])
            days.append(np.full(len(rows), tomorrow.toordinal(), np.int32))
        day += ONE_DAY
    for factory in (old, new):
        factory.close()
    columns = ("upstream", "shared", "cosine raw", "aligned", "residual", "by entity")
    table = plain_table(
        *columns, title=f"rotations of {switch}, measured on entities they were not fitted on"
    )
    for name, fit in figures.items():
        by = ", ".join(f"{entity} {value:.3f}" for entity, value in fit["cosine_of"].items())
        table.add_row(
            name,
            f"{fit['shared']:,}",
            f"{fit['cosine_raw']:.3f}",
            f"{fit['cosine']:.3f}",
            f"{fit['residual']:.3f}",
            by,
        )
    from headwater.cli.terminal import out as terminal

    terminal.print(table)
    judged = Judged(
        np.concatenate(labels),
        np.concatenate(users),
        np.concatenate(days),
        {
            name: {seed: np.concatenate(parts) for seed, parts in by_seed.items()}
            for name, by_seed in scores.items()
        },
    )
    rows = [
        row.as_json()
        for row in lift_table(judged, load_config(path).evaluation.bootstrap, 0.95, 20250904)
    ]
    (options.out / "across-spaces.json").write_text(
        json.dumps({"rotations": figures, "rows": rows}, indent=1)
    )
    show_table(
        {
            "table": f"{options.recipe}: across spaces",
            "consumer": "ctr",
            "first_day": str(switch + ONE_DAY),
            "last_day": str(last),
            "rows": rows,
        }
    )


def cross(
    old: Factory,
    new: Factory,
    day: dt.date,
    before: Edition,
    turns: dict[str, Rotation],
    home: Path,
    aligned: bool,
) -> Edition:
    """The old space's averages go on with the new space's daily vectors: turned, or (wrongly) as
    they are.
    """
    daily = new.workspace.daily_of(day)
    as_they_are = {
        name: Rotation(turn.source, turn.target, np.eye(len(turn.matrix_DD), dtype=np.float32))
        for name, turn in turns.items()
    }
    store = EditionStore(home)
    for name in before.snapshots:  # the segments that the averages so far lie in
        for segment in before.part(name).segments:
            link = home / "segments" / name / segment.folder.name
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(segment.folder.resolve())
    return store.compose(
        day,
        before,
        daily,
        old.config.lifecycle,
        old.config.store,
        {},
        None,
        turns if aligned else as_they_are,
    ).edition


if __name__ == "__main__":
    main()
