"""Staleness: what is left of the lift when the factory stands still and consumers go on reading its
last vectors.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.backtests.backtest import Backtest, backtest, days_of, merged, running
from headwater.config import SHUFFLED, FactoryConfig
from headwater.evaluation import Chart, Column, Judged, Lift, Table
from headwater.pipeline.predict import stale_name
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.comparison import (
    WITHIN,
    Lifts,
    Row,
    beside,
    change_cells,
    change_columns,
    control_note,
    control_pairs,
    interval_note,
    lift_series,
    training_caveat,
    within_note,
)

AGES = (0, 1, 2, 3, 5, 7, 10, 14)
COLUMNS = (
    Column("frozen", "vectors frozen for"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    *WITHIN,
    Column("kept", "of the fresh lift", ".0%"),
    *change_columns("over_fresh", "against fresh", "+.3f"),
    Column("p_holm", "p (Holm)", ".2g"),
)


@dataclass(frozen=True)
class _Found:
    """The same rows judged with vectors of several `ages`, in days, the youngest first."""

    judged: Judged
    lifts: Lifts
    ages: tuple[int, ...]

    @property
    def fresh(self) -> Lift:
        return self.lifts.get("all")

    @property
    def control(self) -> Lift:
        return self.lifts.get(SHUFFLED)

    def frozen(self, age: int) -> Lift:
        """The lift of vectors so many days old."""
        return self.lifts.get(stale_name("all", age))


def staleness_study(asked: Asked) -> Table:
    """What is left of the lift when the factory stands still."""
    with running(asked) as run:
        return staleness_table(run, asked.consumer)


def staleness_table(run: Run, consumer: str = "ctr", ages: tuple[int, ...] = AGES) -> Table:
    """The lift of a ranker trained with fresh vectors that meets vectors older by 0..N days, on the
    same rows: as if the factory had stopped that long ago. Of `ages`, those are taken for which
    every judged day had an edition.

    Raises ExperimentError where there is no such consumer or no day.
    """
    found = _gather(run, consumer, ages)
    return Table(
        name="staleness",
        title=f"staleness, {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(found.judged.day(0)),
        last_day=str(found.judged.day(-1)),
        answer=_answer(consumer, found),
        columns=COLUMNS,
        rows=_rows(found),
        notes=_notes(found, ages),
        charts=_charts(consumer, found),
    )


def _gather(run: Run, consumer: str, ages: tuple[int, ...]) -> _Found:
    days = days_of(run, "staleness", consumer)
    config = run.workspace.config
    start = _first_judged(config, days)
    reach = (start - days[0]).days - config.lifecycle.lag_days
    chosen = tuple(age for age in ages if age <= max(0, reach))
    spec = config.downstream[consumer]
    backtested = backtest(
        run,
        "staleness",
        consumer,
        {
            "frozen": Backtest(spec, ("all",), stale_days=chosen),
            "others": Backtest(spec, ("none", SHUFFLED)),
        },
    )
    judged = merged(one.judged for one in backtested.values())
    judged = judged.take(np.flatnonzero(judged.days_N >= start.toordinal()))
    further = [
        *((stale_name("all", age), "all") for age in chosen[1:]),
        *control_pairs(judged.scores, ["all"]),
    ]
    return _Found(judged, Lifts.of(judged, config.evaluation, further), chosen)


def _first_judged(config: FactoryConfig, days: Sequence[dt.date]) -> dt.date:
    """Without evaluation.start, the later half of the days is judged."""
    return max(days[0], config.evaluation.start or days[len(days) // 2])


def _rows(found: _Found) -> tuple[Row, ...]:
    control = found.control.as_json() | {"frozen": "shuffled, 0 days"}
    return (*(_row(found, age) for age in found.ages), control)


def _row(found: _Found, age: int) -> Row:
    lift = found.frozen(age)
    row = lift.as_json() | {"frozen_days": age}
    if found.lifts.tone("all") == "good":
        row["kept"] = lift.roc_auc_lift_pct / found.fresh.roc_auc_lift_pct
    if age:
        row |= change_cells("over_fresh", found.lifts.get(lift.variant, "all"))
    return row | {"frozen": f"{age} days"}


def _answer(consumer: str, found: _Found) -> str:
    fresh, oldest = found.fresh, found.frozen(found.ages[-1])
    said = (
        f"vectors frozen for {found.ages[-1]} days still give {oldest.roc_auc_lift_pct:+.2f} %"
        f" (interval {oldest.low:.2f} to {oldest.high:.2f}; {beside(oldest)}) of the fresh ones'"
        f" {fresh.roc_auc_lift_pct:+.2f} %."
    )
    if found.lifts.tone("all") != "good":
        said = (
            f"no lift of the fresh vectors is shown to be their own ({fresh.roc_auc_lift_pct:+.2f}"
            f" %, {fresh.low:.2f} to {fresh.high:.2f}; {beside(fresh)}), so what staleness costs"
            " cannot be told."
        )
    control = control_note(found.lifts, "all")
    return f"{consumer.upper()} ranker: {said}{control}{training_caveat(found.lifts)}"


def _notes(found: _Found, ages: tuple[int, ...]) -> tuple[str, ...]:
    note = (
        "The ranker learns with vectors as they were served, and meets the older ones only when it"
        " is judged; it sees their age. All lines of the table are about the same rows."
    )
    notes, within = (interval_note(found.lifts), note), within_note(found.judged)
    if len(found.ages) == len(ages):
        return (*notes, within)
    shortened = (
        f"Longer than {found.ages[-1]} days cannot be asked: the first judged day"
        f" ({found.judged.day(0)}) had no edition so old."
    )
    return (*notes, shortened, within)


def _charts(consumer: str, found: _Found) -> tuple[Chart, ...]:
    lifts = [found.frozen(age) for age in found.ages]
    chart = Chart(
        f"staleness-{consumer}",
        f"Staleness, {consumer.upper()} ranker",
        "lines",
        "vectors frozen for, days",
        "lift of ROC-AUC, %",
        (lift_series("all embeddings", map(float, found.ages), lifts),),
        "The band is the interval.",
    )
    return (chart,)
