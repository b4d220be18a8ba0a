"""The audit's error rates: simulated worlds in which features are honest, however much they know,
and worlds in which they hold the judged days; and what each feature of the recipes tells alone.

    python -m benchmarks.leaks [--seeds N] [--only worlds|recipes] [--data DIR]

A world has entities with a true rate and activity each, 14 days, of which the last ones are judged.
`shares` are what the audit says a feature knows of the chance in the judged rows, least and most
over the seeds; `found` how many of the seeds it refuses.

Of the recipes (adsworld in three worlds; KuaiRand where `--data`, or HEADWATER_DATA, is a folder
with `kuairand/`) the ROC-AUC of every feature alone is taken, for each task: the honest ones that
are declared, and beside them columns that were measured after the click.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headwater.config import parse_config
from headwater.evaluation.audit import Foreknowledge, Tally, foreknowledge, is_leak
from headwater.recipes import RECIPES
from headwater.studies.auditing import Finding
from headwater.studies.auditing.alone import FeaturesAlone
from headwater.workspace import Workspace
from headwater.worlds.adsworld import SIZES, write_world

DAYS = 14


@dataclass(frozen=True)
class World:
    """Rows and positives by entity and day, the first judged day, and what an oracle knows.
    `rates_E` are true ones.
    """

    rows_ED: np.ndarray
    positives_ED: np.ndarray
    first: int
    rates_E: np.ndarray
    activity_E: np.ndarray

    def tallies(self) -> list[Tally]:
        """As the audit takes them: the judged days one by one more, each time beside those before
        the first.
        """
        rows, hits, first = self.rows_ED, self.positives_ED, self.first
        return [
            Tally(
                rows[:, first : last + 1],
                hits[:, first : last + 1],
                rows[:, :first].sum(axis=1),
                hits[:, :first].sum(axis=1),
            )
            for last in range(first, DAYS)
        ]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def make_world(
    seed: int,
    entities: int = 600,
    judged: int = 7,
    rows_a_day: float = 6.0,
    rate: float = 0.25,
    spread: float = 0.6,
    drift: float = 0.0,
    weekend: float = 0.0,
    click: str = "free",
    quota: bool = False,
) -> World:
    """`drift` moves rates and activity as a random walk (log-odds a day), `weekend` gives entities
    a day of the week that they like. `click` is `free`, `page` (of five rows shown at once one at
    most is clicked), `sampled` (one positive to every four negatives, an entity and a day) or
    `last` (a visit ends with the click). With `quota`, rows a day are fixed for each entity.
    """
    generator = np.random.default_rng([seed, 7])
    activity = generator.gamma(0.7, 1, entities) + 0.02
    activity *= rows_a_day / activity.mean()
    logit = np.log(rate / (1 - rate)) + spread * generator.standard_normal(entities)
    likes = generator.integers(0, 7, entities)
    walk, moved = np.zeros(entities), np.zeros(entities)
    rows, hits = np.zeros((entities, DAYS)), np.zeros((entities, DAYS))
    for day in range(DAYS):
        walk, moved = (old + drift * generator.standard_normal(entities) for old in (walk, moved))
        p = sigmoid(logit + walk + weekend * ((likes == day % 7) - 1 / 7))
        expected = activity * np.exp(moved)
        n = np.floor(expected + 0.5) if quota else generator.poisson(expected)
        rows[:, day], hits[:, day] = _clicks(click, n.astype(np.int64), p, generator)
    return World(rows, hits, DAYS - judged, sigmoid(logit), activity)


def _clicks(
    kind: str, n: np.ndarray, p: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    if kind == "page":
        pages = -(-n // 5)
        return 5 * pages, generator.binomial(pages, np.minimum(1, 5 * p))
    if kind == "sampled":
        hits = generator.binomial(n, p)
        return 5 * hits, hits
    if kind == "last":
        visits = -(-n // 4)
        return visits + generator.negative_binomial(np.maximum(visits, 1), p) * (visits > 0), visits
    return n, generator.binomial(n, p)


def honest(world: World, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """What may be known before the first judged day, and more: oracles know each true rate and
    activity.
    """
    rows, hits = world.rows_ED[:, : world.first], world.positives_ED[:, : world.first]
    noise = generator.standard_normal(len(rows))
    return {
        "noise": noise,
        "oracle: rate": world.rates_E,
        "oracle: rate, to 0.05": world.rates_E + 0.05 * noise,
        "oracle: activity": world.activity_E,
        "oracle: positives a day": world.rates_E * world.activity_E,
        "mean of the past": mean(rows, hits),
        "mean of its last 3 days": mean(rows[:, -3:], hits[:, -3:]),
        "count of the past": rows.sum(axis=1),
        "log count of the past": np.log1p(rows.sum(axis=1)),
    }


def planted(world: World, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Statistics that hold judged days."""
    rows, hits, until = world.rows_ED, world.positives_ED, (world.first + DAYS) // 2 + 1
    rate, n, k = hits.sum() / rows.sum(), rows.sum(axis=1), hits.sum(axis=1)
    month = mean(rows, hits)
    return {
        "month mean": month,
        "month mean, smoothed": (k + 20 * rate) / (n + 20),
        "month mean, log": np.log1p(month),
        "month mean, 2 decimals": month.round(2),
        "month mean, 1 decimal": month.round(1),
        "month mean, rank": month.argsort().argsort().astype(float),
        "month mean + noise 0.02": month + 0.02 * generator.standard_normal(len(n)),
        "month mean + noise 0.05": month + 0.05 * generator.standard_normal(len(n)),
        "mean until the 1st judged day": mean(
            rows[:, : world.first + 1], hits[:, : world.first + 1]
        ),
        "mean until mid-span": mean(rows[:, :until], hits[:, :until]),
        "mean of the judged days": mean(rows[:, world.first :], hits[:, world.first :]),
        "month positives": k,
        "month positives, log": np.log1p(k),
        "month count": n,
        "month count, log": np.log1p(n),
        "month count, log, 1 decimal": np.log1p(n).round(1),
        "month count a day": n / DAYS,
    }


def mean(rows_ED: np.ndarray, positives_ED: np.ndarray) -> np.ndarray:
    return np.asarray(positives_ED.sum(axis=1) / np.maximum(rows_ED.sum(axis=1), 1))


WORLDS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "60 entities": {"entities": 60},
    "25 entities": {"entities": 25},
    "rates and activity drift": {"drift": 0.15},
    "few rows each": {"entities": 3000, "rows_a_day": 0.6},
    "rate 0.02": {"rate": 0.02, "rows_a_day": 30.0},
    "2 days judged": {"judged": 2},
    "1 day judged": {"judged": 1},
    "a favourite weekday": {"weekend": 1.0},
    "one click a page": {"click": "page", "rate": 0.1, "rows_a_day": 10.0},
    "negatives sampled": {"click": "sampled"},
    "visits end with a click": {"click": "last"},
    "fixed rows a day": {"quota": True},
}


def strongest(values: np.ndarray, tallies: list[Tally]) -> tuple[Foreknowledge | None, bool]:
    found = foreknowledge(values, tallies)
    worst = max(found, key=lambda one: (is_leak(one, len(found)), one.share), default=None)
    return worst, worst is not None and is_leak(worst, len(found))


def judge(
    features: Callable[[World, np.random.Generator], Mapping[str, np.ndarray]], worlds: list[World]
) -> list[dict[str, Any]]:
    seen: dict[str, list[tuple[Foreknowledge | None, bool]]] = {}
    for number, world in enumerate(worlds):
        for name, values in features(world, np.random.default_rng([number, 8])).items():
            seen.setdefault(name, []).append(strongest(values, world.tallies()))
    shares = {
        name: [one.share for one, _ in found if one is not None] for name, found in seen.items()
    }
    return [
        {
            "feature": name,
            "least": min(shares[name]),
            "most": max(shares[name]),
            "found": sum(leak for _, leak in found),
            "of": len(found),
            "lowest z": min(one.z for one, _ in found if one is not None),
        }
        for name, found in seen.items()
        if shares[name]
    ]


# ---- features alone, on the recipes --------------------------------------------------------------

# of KuaiRand, columns that tell what happened after the video was shown
AFTERWARDS = ("play_time_ms", "long_view", "is_like", "profile_stay_time", "comment_stay_time")


@dataclass(frozen=True)
class Case:
    """A recipe on some data, and which of its features are outcomes that were put there."""

    name: str
    config: Mapping[str, Any]
    planted: tuple[str, ...]


def adsworlds(folder: Path, worlds: range) -> Iterator[Case]:
    """Small worlds, with a dwell time, a page that a click led to, and the moment of landing."""
    for world in worlds:
        data = folder / f"world-{world}"
        write_world(data, SIZES["small"], seed=world)
        generator = np.random.default_rng(world)
        for file in (data / "impressions").glob("*.parquet"):
            rows = pl.read_parquet(file)
            clicked = rows["is_click"].to_numpy() == 1
            noise = generator.random(len(rows))
            rows.with_columns(
                dwell_s=np.where(clicked, 20 + 60 * noise, 5 * noise),
                page_after=pl.when(pl.Series(clicked)).then("ad_id"),
                landed=pl.when(pl.Series(clicked)).then("time"),
            ).write_parquet(file)
        raw = RECIPES["adsworld"].config(data, data)
        planted = {"dwell_s": "numeric", "page_after": "categorical", "landed": "timestamp"}
        raw["logs"]["impressions"]["features"] |= planted
        names = tuple(f"logs.impressions.{name}" for name in planted)
        yield Case(f"adsworld {world}", raw, names)


def kuairand(data: Path) -> Iterator[Case]:
    if (data / "kuairand").is_dir():
        raw = RECIPES["kuairand"].config(data / "kuairand", data / "kuairand")
        raw["logs"]["feed"]["features"] |= dict.fromkeys(AFTERWARDS, "numeric")
        yield Case("kuairand", raw, tuple(f"logs.feed.{name}" for name in AFTERWARDS))


def alone(case: Case) -> Iterator[tuple[str, float, list[Finding]]]:
    """For each task of the rankers: its name, the CPU seconds, and what each feature tells alone,
    over the judged days of the recipe and all those before.
    """
    config = parse_config(dict(case.config))
    workspace = Workspace.of(config, Path.cwd())
    schema, reader = workspace.schema, workspace.events()
    for task_name in dict.fromkeys(spec.task for spec in config.downstream.values()):
        task, began = schema.tasks[task_name], time.process_time()
        log = schema.logs[task.log]
        span = reader.logs[task.log].span()
        first, last = config.evaluation.start, config.evaluation.end
        assert span is not None
        assert first is not None
        assert last is not None
        last -= dt.timedelta(days=task.matures_days)  # those whose labels are in the data
        entities = {name: schema.entities[name] for name in log.entities}
        histories = {
            name: schema.histories[name]
            for name, spec in config.histories.items()
            if spec.log == task.log
        }
        features = FeaturesAlone(log, entities, histories, (last - first).days + 1)
        for n in range((last - span[0]).days + 1):
            day = span[0] + dt.timedelta(days=n)
            known_by = day + dt.timedelta(days=task.matures_days)
            rows = reader.read(task.log, day, (task.name,), known_by).where_defined((task.name,))
            features.add(rows, rows.labels[task.name], judged=day >= first)
        yield task_name, time.process_time() - began, list(features.findings())


def about_recipes(data: Path) -> None:
    """Print, by recipe and task, the highest of the honest features, and each that was planted."""
    honest_rows, planted_rows = list[dict[str, Any]](), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        for case in (*adsworlds(Path(folder), range(3)), *kuairand(data)):
            for task, seconds, found in alone(case):
                fair = sorted(
                    (one for one in found if one.name not in case.planted),
                    key=lambda one: -(one.figure or 0),
                )
                most = ", ".join(f"{one.name} {one.figure:.3f}" for one in fair[:3])
                honest_rows.append(
                    {
                        "recipe": case.name,
                        "task": task,
                        "features": len(fair),
                        "most": most,
                        "noted": sum(one.noted for one in fair),
                        "refused": sum(not one.passed for one in fair),
                        "CPU s": seconds,
                    }
                )
                planted_rows += [
                    {
                        "recipe": case.name,
                        "task": task,
                        "feature": one.name,
                        "ROC-AUC": f"{one.figure:.4f}",
                        "verdict": "noted" if one.noted and one.passed else one.passed or "refused",
                    }
                    for one in found
                    if one.name in case.planted
                ]
    print("\nhonest, alone")
    _show(honest_rows)
    print("\nmeasured afterwards, alone")
    _show(planted_rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=("worlds", "recipes"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HEADWATER_DATA", "data")))
    options = parser.parse_args()
    if options.only != "recipes":
        about_worlds(range(options.seeds))
    if options.only != "worlds":
        about_recipes(options.data)


def about_worlds(seeds: range) -> None:
    """Print what features that are honest, and those that are not, seem to know of the chance."""
    worlds = {
        name: [make_world(seed, **settings) for seed in seeds] for name, settings in WORLDS.items()
    }
    calm, power = list[dict[str, Any]](), list[dict[str, Any]]()
    for name, made in worlds.items():
        rows = judge(honest, made)
        worst = max(rows, key=lambda row: row["most"])
        calm.append(
            {
                "world": name,
                "most": worst["most"],
                "of feature": worst["feature"],
                "false alarms": sum(row["found"] for row in rows),
                "of": sum(row["of"] for row in rows),
                "lowest z": min(row["lowest z"] for row in rows),
            }
        )
    print("honest")
    _show(calm)
    for name in (
        "as it is",
        "60 entities",
        "rates and activity drift",
        "few rows each",
        "rate 0.02",
        "2 days judged",
        "1 day judged",
    ):
        for row in judge(planted, worlds[name]):
            power.append({"world": name, **row})
    print("\nplanted")
    _show(power)


def _show(rows: list[dict[str, Any]]) -> None:
    print(" | ".join(rows[0]))
    for row in rows:
        print(
            " | ".join(
                f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()
            )
        )


if __name__ == "__main__":
    main()
