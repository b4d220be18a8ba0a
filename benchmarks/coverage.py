"""How often a 95 % interval misses the truth, in worlds whose truth is known.

    python -m benchmarks.coverage [--worlds 2000] [--processes 2] [--only WORDS ...]

Each row of the table is a kind of world, drawn anew so many times: its users, items, labels, and
two variants of a ranker with their seeds. In null worlds both variants are of equal worth, and each
believes something of its own of every user, item or seed; a lift is then 0 in truth. A true lift is
the mean over the worlds of its row. Former: the percentile bootstrap over users and S - 1 of S
seeds, or for slices the normal interval over users and seeds, both linearised; items were not
drawn. Shape suffixes: N rows, U users, S seeds, B replicates, W worlds, M wanted items.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from scipy.stats import norm

from headwater.evaluation import Judged, Metric, interval_of
from headwater.evaluation.clusters import Clusters
from headwater.evaluation.influence import mean_influence, mean_of, roc_auc
from headwater.evaluation.lift import Comparison
from headwater.evaluation.within import daily_auc, group_auc

CONFIDENCE = 0.95
REPLICATES = 400
VARIANTS = ("none", "all")


@dataclass(frozen=True)
class World:
    """A kind of world, and within what share of its worlds an interval may miss.

    `activity` and `popularity` are exponents of Pareto laws of the rows of users and of items (0:
    all alike). `of_user`, `of_item` and `of_row` are standard deviations of what each variant
    believes on its own, beside a true signal of 1; `of_seed` that of how strong a seed's signal is,
    `of_noise` that of what each seed believes of each row. `lift` is what the second variant's
    signal has more. Rows lie on `days`, whose labels are more and less frequent, and are grouped by
    user and day; `metric` says what is compared. With `upstreams`, each of so many seeds of the
    upstreams has as many of the rankers', and `of_upstream` is how strongly it decides the signal.
    """

    name: str
    seeds: int
    rows: int = 3000
    users: int = 600
    items: int = 600
    activity: float = 3.0
    popularity: float = 3.0
    of_user: float = 0.3
    of_item: float = 0.0
    of_row: float = 0.3
    of_seed: float = 0.0
    of_noise: float = 0.0
    lift: float = 0.0
    days: int = 1
    metric: Metric = roc_auc
    upstreams: int = 0
    of_upstream: float = 0.0
    former: str = "bootstrap"
    target: tuple[float, float] = (0.035, 0.07)

    def judged(self, generator: np.random.Generator) -> Judged:
        """The rows of one such world, judged by both variants."""
        user_N = _drawn(generator, self.rows, self.users, self.activity)
        item_N = _drawn(generator, self.rows, self.items, self.popularity)
        truth_N = _effects(generator, user_N, 0.7) + _effects(generator, item_N, 0.5)
        truth_N += 0.5 * generator.standard_normal(self.rows)
        day_N = np.zeros(self.rows, np.int32)
        if self.days > 1:
            day_N = generator.integers(0, self.days, self.rows).astype(np.int32)
            truth_N += _effects(generator, day_N, 0.5)
        chance_N = 1 / (1 + np.exp(1.5 - truth_N))
        labels_N = (generator.random(self.rows) < chance_N).astype(np.float32)
        shared_N = generator.standard_normal(self.rows)
        scores: dict[str, dict[int, np.ndarray]] = {}
        for variant in VARIANTS:
            believed_N = _effects(generator, user_N, self.of_user)
            believed_N += _effects(generator, item_N, self.of_item)
            believed_N += self.of_row * generator.standard_normal(self.rows) + shared_N
            strength = 1 + self.lift * (variant == "all")
            strong_S = strength + self.of_seed * generator.standard_normal(self.seeds)
            if self.upstreams:
                lucks = self.of_upstream * generator.standard_normal(self.upstreams)
                strong_S += np.repeat(lucks, self.seeds // self.upstreams)
            scores[variant] = {
                seed: strong * truth_N
                + believed_N
                + self.of_noise * generator.standard_normal(self.rows)
                for seed, strong in enumerate(strong_S)
            }
        each = self.seeds // self.upstreams if self.upstreams else 0
        replicate_of = {seed: seed // each for seed in range(self.seeds)} if each else {}
        return Judged(labels_N, user_N, day_N, scores, item_N, replicate_of=replicate_of)


WORLDS = (
    World("3 seeds, seeds dominate", 3, of_user=0.1, of_row=0.1, of_seed=0.1),
    World("2 seeds, seeds dominate", 2, of_user=0.1, of_row=0.1, of_seed=0.1),
    World("5 seeds, seeds dominate", 5, of_user=0.1, of_row=0.1, of_seed=0.1),
    World("3 seeds as large as rows", 3, of_seed=0.08, target=(0.03, 0.07)),
    World("3 seeds, noise of their own", 3, of_seed=0.05, of_noise=0.3, target=(0.0, 0.07)),
    World(
        "600 items with beliefs",
        3,
        rows=9000,
        users=1500,
        of_user=0.1,
        of_row=0.1,
        of_item=2.0,
        of_seed=0.02,
    ),
    World(
        "60 items with beliefs",
        3,
        rows=6000,
        users=1500,
        items=60,
        of_user=0.1,
        of_row=0.1,
        of_item=1.0,
        of_seed=0.02,
        target=(0.035, 0.09),
    ),
    World(
        "slice of 100 Pareto users",
        3,
        rows=1000,
        users=100,
        activity=1.1,
        of_user=1.0,
        of_seed=0.02,
        former="normal",
    ),
    World(
        "slice of 40 Pareto users",
        3,
        rows=400,
        users=40,
        activity=1.5,
        of_user=1.0,
        of_seed=0.02,
        former="normal",
    ),
    World("true lift", 3, of_item=0.3, of_seed=0.05, lift=0.3, target=(0.03, 0.07)),
    World(
        "true lift, 5 seeds", 5, rows=6000, of_item=0.5, of_seed=0.1, lift=0.3, target=(0.03, 0.07)
    ),
    World("daily, 3 seeds", 3, days=7, metric=daily_auc, of_item=0.3, of_seed=0.05),
    World(
        "within groups, 3 seeds", 3, rows=6000, days=2, metric=group_auc, of_item=0.3, of_seed=0.05
    ),
    World("3 upstream seeds of 2 rankers", 6, upstreams=3, of_upstream=0.1, of_seed=0.03),
    World(
        "2 upstream seeds of 3 rankers",
        6,
        upstreams=2,
        of_upstream=0.1,
        of_seed=0.03,
        target=(0.035, 0.09),
    ),
)
RECALL = World("recall of 300 users, 300 items", 0, users=300, items=300)


@dataclass(frozen=True)
class Answer:
    """What one world gave: the lift found, and the bounds of both intervals."""

    value: float
    low: float
    high: float
    former_low: float
    former_high: float


def _drawn(generator: np.random.Generator, rows: int, groups: int, law: float) -> np.ndarray:
    """The group of each row, [N]; each group has rows, and how many follows a Pareto law."""
    weights = generator.pareto(law, groups) + 1 if law else np.ones(groups)
    more = generator.choice(groups, max(0, rows - groups), p=weights / weights.sum())
    return generator.permutation(np.concatenate([np.arange(groups), more])[:rows])


def _effects(generator: np.random.Generator, group_N: np.ndarray, sd: float) -> np.ndarray:
    return np.asarray(sd * generator.standard_normal(int(group_N.max()) + 1)[group_N])


def answer_of(world: World, number: int) -> Answer:
    """One world's lift with both intervals."""
    generator = np.random.default_rng([number, sum(map(ord, world.name))])
    if world == RECALL:
        return _recall(world, generator)
    judged = world.judged(generator)
    found = Comparison(judged).change_pct("all", "none", world.metric, CONFIDENCE)
    low, high = former(world, judged, generator)
    return Answer(found.value, found.low, found.high, low, high)


def former(world: World, judged: Judged, generator: np.random.Generator) -> tuple[float, float]:
    """The bounds of the interval as it was made before, linearised."""
    by_variant = [
        [world.metric(judged, scores) for scores in judged.scores[name].values()]
        for name in VARIANTS
    ]
    base, now = (mean_of(found) for found in by_variant)
    ratio = now.value / base.value
    change_S = np.array(
        [100 * (b.value - ratio * a.value) / base.value for a, b in zip(*by_variant, strict=True)]
    )
    parts_SU = np.stack(
        [
            np.bincount(judged.users_N, 100 * (b.parts_N - ratio * a.parts_N) / base.value)
            for a, b in zip(*by_variant, strict=True)
        ]
    )
    lift, users = 100 * (ratio - 1), parts_SU.shape[1]
    tail = (1 - CONFIDENCE) / 2
    if world.former == "normal":
        over_users = np.square(parts_SU.mean(axis=0)).sum() * users / (users - 1)
        wide = norm.ppf(1 - tail) * np.sqrt(over_users + change_S.var(ddof=1) / len(change_S))
        return lift - wide, lift + wide
    drawn_BS = generator.multinomial(
        max(1, world.seeds - 1), np.full(world.seeds, 1 / world.seeds), REPLICATES
    ) / max(1, world.seeds - 1)
    drawn_BU = generator.multinomial(users, np.full(users, 1 / users), REPLICATES)
    draws_B = lift + drawn_BS @ change_S + (drawn_BS * (drawn_BU @ parts_SU.T)).sum(axis=1)
    low, high = np.quantile(draws_B, [tail, 1 - tail])
    return float(low), float(high)


def _recall(world: World, generator: np.random.Generator) -> Answer:
    """Recall of two methods of equal worth, each with a liking of its own for every item."""
    user_M = _drawn(generator, 3 * world.users, world.users, 2.0)
    item_M = _drawn(generator, len(user_M), world.items, 1.5)
    wanted_M = np.bincount(user_M)[user_M]
    user_easy_M = _effects(generator, user_M, 0.5)
    hits = [
        user_easy_M + _effects(generator, item_M, 0.7) + generator.standard_normal(len(user_M))
        > 0.5
        for _ in VARIANTS
    ]
    less_M = (hits[1].astype(float) - hits[0]) / wanted_M
    found = interval_of(mean_influence(less_M, 1 / wanted_M), Clusters(user_M, item_M), CONFIDENCE)
    sums_U = np.bincount(user_M, less_M)
    drawn_BU = generator.multinomial(len(sums_U), np.full(len(sums_U), 1 / len(sums_U)), REPLICATES)
    low, high = np.quantile(drawn_BU @ sums_U / len(sums_U), [0.025, 0.975])
    return Answer(found.value, found.low, found.high, float(low), float(high))


def line_of(world: World, answers: Sequence[Answer], seconds: float) -> str:
    """How often either interval missed, and how wide they were."""
    value_W, low_W, high_W, former_low_W, former_high_W = np.array(
        [[a.value, a.low, a.high, a.former_low, a.former_high] for a in answers]
    ).T
    truth = value_W.mean() if world.lift else 0.0
    misses = np.mean((truth < low_W) | (truth > high_W))
    missed = np.mean((truth < former_low_W) | (truth > former_high_W))
    wider = np.median(high_W - low_W) / np.median(former_high_W - former_low_W)
    low, high = world.target
    held = "holds" if low <= misses <= high else "MISSED"
    return (
        f"{world.name:32}{world.seeds:5}{len(answers):8,}{truth:+8.2f}{misses:10.1%}"
        f"{missed:10.1%}{wider:9.2f}   {low:.1%} to {high:.1%} {held:8}{seconds:6.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=2000, help="of each row")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], help="rows whose name holds a word")
    options = parser.parse_args()
    chosen = [
        world
        for world in (*WORLDS, RECALL)
        if not options.only or any(word in world.name for word in options.only)
    ]
    print(
        f"{'worlds':32}{'seeds':>5}{'drawn':>8}{'truth':>8}{'misses':>10}{'former':>10}"
        f"{'wider':>9}   target"
    )
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(options.processes) as pool:
        for world in chosen:
            began = time.monotonic()
            numbers = range(options.worlds)
            answers = list(pool.map(answer_of, repeat(world), numbers, chunksize=50))
            print(line_of(world, answers, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
