"""Rehearsals: the factory as it would be under another policy, from the daily vectors it has, with rankers of its own. Table T1.

A rehearsal trains no upstream: it folds the factory's daily snapshots under its policy into editions of its own, in
`rehearsals/NAME/` in the warehouse, and lets a ranker be judged on them day by day. Interrupted, it goes on where it was.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import PolicyConfig, parse_policy
from headwater.console import SILENT, Console
from headwater.errors import ExperimentError
from headwater.evaluation import Judged, Lift, lift_table
from headwater.files import canonical_json, digest_of, exclusive, read_json
from headwater.pipeline import Factory

BOOTSTRAP_SEED = 20250904
T1_POLICIES: dict[str, str] = {
    "latest (ACC)": "{kind: latest}",
    **{f"ema {w}": f"{{kind: ema, weight: {w}}}" for w in (0.2, 0.5, 0.8, 0.9)},
    "ema half-life 3 days": "{kind: ema, half_life_days: 3}",
    "ema 0.8 renormalised": "{kind: ema, weight: 0.8, renormalize: true}",
    "mean of 7 (AP)": "{kind: mean, k: 7}",
    "last 3 as a sequence": "{kind: last, k: 3}",
}


@dataclass(frozen=True)
class PolicyRow:
    """A policy's row of T1: the ranker's lift, its change against the first policy on the same rows and seeds, and what the policy does
    to vectors (means over the judged days)."""

    policy: str
    lift: Lift
    over_first: Lift
    cosine_day_over_day: Mapping[str, float]
    age_days: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        over = {"pct": self.over_first.roc_auc_lift_pct, "low": self.over_first.low, "high": self.over_first.high}
        vectors = {"cosine_day_over_day": dict(self.cosine_day_over_day), "age_days": dict(self.age_days)}
        return self.lift.as_dict() | {"arm": self.policy, "over_first": over} | vectors


@dataclass(frozen=True)
class PolicyTable:
    """T1."""

    consumer: str
    first_day: dt.date
    last_day: dt.date
    baseline: Lift
    rows: tuple[PolicyRow, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"table": "T1", "consumer": self.consumer, "first_day": str(self.first_day), "last_day": str(self.last_day),
                "rows": [self.baseline.as_dict() | {"arm": "none"}, *(row.as_dict() for row in self.rows)]}  # fmt: skip


def policy_table(factory: Factory, policies: Mapping[str, str] = T1_POLICIES, consumer: str = "ctr") -> PolicyTable:
    """Every policy's lift of a ranker that reads all embeddings, against one that reads none, on the same rows and seeds.

    Policies that average keep the warm-up of the declared policy. Raises ExperimentError where there is no such consumer or no day.
    """
    days = [day for day in factory.days_done() if factory.entry(day).folder is not None]  # daily vectors are kept as long as editions
    if consumer not in factory.config.downstream or not days:
        raise ExperimentError(f"T1 is about the consumer {consumer!r} of a factory with days run; this one has "
                              f"{', '.join(factory.config.downstream) or 'no consumer'} and {len(days)} days.")  # fmt: skip
    span, scores = factory.config.evaluation, dict[str, Mapping[int, np.ndarray]]()
    judged: Judged | None = None
    health: dict[str, list[dict[str, Any]]] = {}
    chosen = {"none": next(iter(policies.values()))} | dict(policies)
    rehearsals = {name: rehearsal(factory, _with_warm_up(parse_policy(text), factory), consumer, "none" if name == "none" else "all")
                  for name, text in chosen.items()}  # fmt: skip
    # The lock: nothing may be erased, or go, while its daily vectors are read.
    with exclusive(factory.warehouse), factory.console.progress("T1", len(chosen) * len(days)) as bar:
        for stale in (factory.warehouse / "rehearsals").glob("*"):  # of other days
            if stale not in {made.warehouse for made in rehearsals.values()}:
                shutil.rmtree(stale)

        def run(name: str) -> Factory:
            made = rehearsals[name]
            try:
                for day in days:
                    made.run_day(day)
                    bar.title(f"T1 {name} {day}")
                    bar.advance()
            finally:
                made.close()
            return made

        # a ranker trains in a worker process, so several rehearsals go on at once; without workers, one after the other
        with ThreadPoolExecutor(max(1, factory.config.workers)) as pool:
            rehearsed = dict(zip(chosen, pool.map(run, chosen), strict=True))
        for name, made in rehearsed.items():
            found = made.judgements.pooled(consumer, span.start, span.end, days)
            if judged is not None and not (np.array_equal(judged.labels_N, found.labels_N) and np.array_equal(judged.users_N, found.users_N)):
                raise ExperimentError(f"T1: the policy {name!r} was judged on other rows than the first; remove {made.warehouse} and try again.")
            judged = judged or found
            scores[name] = found.scores["none" if name == "none" else "all"]
            judged_days = {judged.day(row) for row in range(0, len(judged.labels_N), 50)}
            health[name] = [read_json(made.report_path(day))["snapshots"] for day in days if day in judged_days]
    assert judged is not None
    whole = replace(judged, scores=scores)
    lifts, over_first = (
        {row.arm: row for row in lift_table(whole, span.bootstrap, span.confidence, BOOTSTRAP_SEED, baseline)}
        for baseline in ("none", next(iter(policies)))
    )
    rows = tuple(
        PolicyRow(name, lifts[name], over_first[name], _mean(health[name], "cosine_median"), _mean(health[name], "age_mean_days"))
        for name in policies
    )
    return PolicyTable(consumer, judged.day(0), judged.day(-1), lifts["none"], rows)


def rehearsal(factory: Factory, policy: PolicyConfig, consumer: str, arm: str) -> Factory:
    """A factory that takes the daily vectors of `factory`, under another policy, with one arm of one consumer. Its gates report only."""
    spec = factory.config.downstream[consumer].model_copy(update={"arms": (arm,)})
    config = factory.config.model_copy(update={
        "workers": min(1, factory.config.workers),
        "lifecycle": factory.config.lifecycle.model_copy(update={"policy": policy, "keep_days": 10_000, "promote": "manual"}), "downstream": {consumer: spec},
        "gates": factory.config.gates.model_copy(update={"settle_days": 10_000}), "store": factory.config.store.model_copy(update={"online": "none"}),
        "lanes": {},
    })  # fmt: skip
    last = factory.entry(factory.days_done()[-1]).digest
    name = digest_of(canonical_json(policy.model_dump(mode="json")), consumer, arm, config.digest(), factory.lane, last)[:16]
    return Factory(config, factory.root, SILENT, source=factory, warehouse=factory.warehouse / "rehearsals" / name)


def load_policy_table(path: Path, console: Console = SILENT) -> PolicyTable:
    factory = Factory.load(path, console)
    try:
        return policy_table(factory)
    finally:
        factory.close()


def _with_warm_up(policy: PolicyConfig, factory: Factory) -> PolicyConfig:
    days = getattr(factory.config.lifecycle.policy, "warm_up_days", 0)
    return policy.model_copy(update={"warm_up_days": days}) if "warm_up_days" in type(policy).model_fields else policy


def _mean(days: list[dict[str, Any]], figure: str) -> dict[str, float]:
    names = dict.fromkeys(name for day in days for name in day)
    values = {name: [day[name][figure] for day in days if day.get(name, {}).get(figure) is not None] for name in names}
    return {name: float(np.mean(found)) for name, found in values.items() if found}
