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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from headwater.blobs import Layout
from headwater.cli.terminal import out as terminal
from headwater.cli.terminal import plain_table, show_table
from headwater.console import Console
from headwater.embeddings import Served
from headwater.embeddings.alignment import Fit, Rotation
from headwater.evaluation import Judged, Table, lift_table
from headwater.factory import Factory
from headwater.lifecycle.align import fit_editions
from headwater.models.downstream import VariantTask, predict_variant
from headwater.pipeline.predict import rows_to_predict
from headwater.pipeline.rankers import Checkpoints
from headwater.recipes import RECIPES
from headwater.store import Edition, Provenance, compose
from headwater.studies.lifts import COLUMNS

ONE_DAY = dt.timedelta(days=1)
CROSSINGS = ("averaged raw", "averaged aligned")


@dataclass(frozen=True)
class Stand:
    """An edition read as if it were in another space: what View refuses, done on purpose. `turns`
    by upstream, if any.
    """

    edition: Edition
    day: dt.date
    turns: Mapping[str, Rotation]

    def read(self, name: str, keys_N: np.ndarray, rows_of: dt.date) -> Served | None:
        assert rows_of > self.day
        served = self.edition.lookup(name, keys_N, rows_of)
        turn = self.turns.get(served.space.upstream)
        if turn is None:
            return served
        turned_ND = served.vectors_ND @ turn.matrix_DD
        return Served(turn.target, turned_ND, served.found_N, served.age_days_N)


@dataclass(frozen=True)
class Way:
    """A variant of a lane's ranker, and the vectors that it is made to read; `turns` by
    upstream.
    """

    lane: Factory
    variant: str
    edition: Edition
    turns: Mapping[str, Rotation] = field(default_factory=dict)


class Seen:
    """What was predicted day by day, by the name of the way and the ranker's seed."""

    def __init__(self) -> None:
        self.scores: dict[str, dict[int, list[np.ndarray]]] = {}
        self.labels: list[np.ndarray] = []
        self.users: list[np.ndarray] = []
        self.items: list[np.ndarray] = []
        self.days: list[np.ndarray] = []

    def predict(self, lane: Factory, day: dt.date, ways: Mapping[str, Way], out: Path) -> None:
        """The traffic of the day after `day`, whose rows `lane` reads, as each way predicts it."""
        tomorrow = day + ONE_DAY
        task = lane.workspace.schema.tasks[lane.config.downstream["ctr"].task]
        today = lane.run.reader.read(tomorrow, lane.days_done()).today(task.log)
        rows = today.take(rows_to_predict(task, today))
        for name, way in ways.items():
            plans = {plan.variant.name: plan for plan in way.lane.run.rankers}
            plan = plans[way.variant]
            work = VariantTask(
                plan=plan,
                day=tomorrow,
                rows=plan.reads(rows),
                view=Stand(way.edition, day, way.turns),
                before=Checkpoints.of(way.lane.workspace).at(plan, day),
                folder=out,
                fingerprint="",
            )
            for seed, found in predict_variant(work).items():
                self.scores.setdefault(name, {}).setdefault(seed, []).append(found)
        self.labels.append(rows.labels[task.name])
        self.users.append(rows.keys["user"])
        self.items.append(rows.keys["item"])
        self.days.append(np.full(len(rows), tomorrow.toordinal(), np.int32))

    def judged(self) -> Judged:
        return Judged(
            np.concatenate(self.labels),
            np.concatenate(self.users),
            np.concatenate(self.days),
            {
                name: {seed: np.concatenate(parts) for seed, parts in by_seed.items()}
                for name, by_seed in self.scores.items()
            },
            np.concatenate(self.items),
        )


def make_config(recipe: str, data: Path, out: Path) -> Path:
    raw = json.loads(json.dumps(RECIPES[recipe].config(data, data.resolve())))
    raw["downstream"] = {"ctr": {**raw["downstream"]["ctr"], "variants": ["none", "all"]}}
    raw["lanes"] = {"v2": {"upstreams": {name: {"seed": 7} for name in raw["upstreams"]}}}
    out.mkdir(parents=True, exist_ok=True)
    (out / "factory.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return out / "factory.yaml"


def run(
    old: Factory, new: Factory, switch: dt.date, days: list[dt.date], out: Path
) -> tuple[dict[str, Fit], Seen]:
    """Run both lanes over the days. Returns the rotations of the switch day, by upstream, and what
    was predicted of the day after each from then on.
    """
    seen, fits = Seen(), dict[str, Fit]()
    turns: dict[str, Rotation] = {}
    crossing: dict[str, Edition] = {}
    for day in days:
        old.run_day(day)
        new.run_day(day)
        if day < switch:
            continue
        there, here = old.workspace.edition(day), new.workspace.edition(day)
        if day == switch:
            fits = fit_editions(here, there)
            turns = {name: fit.rotation for name, fit in fits.items()}
            crossing = dict.fromkeys(CROSSINGS, there)
        else:
            raw, aligned = (out / name.replace(" ", "-") for name in CROSSINGS)
            unturned = {name: as_it_is(turn) for name, turn in turns.items()}
            crossing = {
                CROSSINGS[0]: cross(old, new, day, crossing[CROSSINGS[0]], unturned, raw),
                CROSSINGS[1]: cross(old, new, day, crossing[CROSSINGS[1]], turns, aligned),
            }
        ways = {
            "none": Way(old, "none", there),
            "old space": Way(old, "all", there),
            "new space raw": Way(old, "all", here),
            "new space aligned": Way(old, "all", here, turns),
            "new space, ranker retrained": Way(new, "all", here),
            **{name: Way(old, "all", edition) for name, edition in crossing.items()},
        }
        seen.predict(old, day, ways, out)
    return fits, seen


def as_it_is(turn: Rotation) -> Rotation:
    """It says that the vectors are in the target's space, and leaves them where they are."""
    return Rotation(turn.source, turn.target, np.eye(len(turn.matrix_DD), dtype=np.float32))


def cross(
    old: Factory,
    new: Factory,
    day: dt.date,
    before: Edition,
    turns: Mapping[str, Rotation],
    home: Path,
) -> Edition:
    """The old space's averages go on with the new space's daily vectors, turned (or, wrongly, as
    they are).
    """
    layout = Layout(home)
    for name in before.snapshots:  # the segments that the averages so far lie in
        for segment in before.part(name).segments:
            link = layout.segment(name, segment.folder.name)
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(segment.folder.resolve())
    daily, source = new.workspace.daily_of(day), Provenance(rotations=turns)
    return compose(layout, day, before, daily, old.workspace.rule, source).edition


def show_rotations(switch: dt.date, fits: Mapping[str, Fit]) -> None:
    table = plain_table(
        "upstream",
        "shared",
        "cosine raw",
        "aligned",
        "residual",
        "by entity",
        title=f"rotations of {switch}, measured on entities they were not fitted on",
    )
    for name, fit in fits.items():
        by = ", ".join(f"{entity} {value:.3f}" for entity, value in fit.cosine_of.items())
        table.add_row(
            name,
            f"{fit.shared:,}",
            f"{fit.cosine_raw:.3f}",
            f"{fit.cosine:.3f}",
            f"{fit.residual:.3f}",
            by,
        )
    terminal.print(table)


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
    days = [options.first + n * ONE_DAY for n in range(options.days)]
    switch = options.first + (options.switch - 1) * ONE_DAY
    try:
        fits, seen = run(old, new, switch, days[:-1], options.out)
    finally:
        old.close()
        new.close()
    show_rotations(switch, fits)
    lifts = lift_table(seen.judged(), 0.95)
    rows = [lift.as_json() for lift in lifts]
    rotations = {name: fit.as_json() for name, fit in fits.items()}
    (options.out / "across-spaces.json").write_text(
        json.dumps({"rotations": rotations, "rows": rows}, indent=1)
    )
    show_table(
        Table(
            name=f"{options.recipe}: across spaces",
            title="lift of the CTR ranker",
            consumer="ctr",
            first_day=str(switch + ONE_DAY),
            last_day=str(days[-1]),
            answer="Against the same ranker without embeddings.",
            columns=COLUMNS,
            rows=tuple(rows),
        )
    )


if __name__ == "__main__":
    main()
