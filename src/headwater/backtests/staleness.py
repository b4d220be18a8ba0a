"""Staleness: what is left of the lift when the factory stands still and consumers go on reading its
last vectors.
"""

from __future__ import annotations

import numpy as np

from headwater.backtests.backtest import Backtest, backtest, days_of, judged_by, merged, running
from headwater.config import SHUFFLED
from headwater.evaluation import Chart, Column, Series, Table, lift_table
from headwater.pipeline.predict import stale_name
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.lifts import BOOTSTRAP_SEED, control_note

AGES = (0, 1, 2, 3, 5, 7, 10, 14)
COLUMNS = (
    Column("frozen", "vectors frozen for"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    Column("kept", "of the fresh lift", ".0%"),
    Column("over_fresh_pct", "against fresh, %", "+.3f", "over_fresh_low", "over_fresh_high"),
    Column("p_holm", "p (Holm)", ".2g"),
)


def staleness_study(asked: Asked) -> Table:
    with running(asked) as run:
        return staleness_table(run, asked.consumer)


def staleness_table(run: Run, consumer: str = "ctr", ages: tuple[int, ...] = AGES) -> Table:
    """The lift of a ranker trained with fresh vectors that meets vectors older by 0..N days, on the
    same rows: as if the factory had stopped that long ago. Of `ages`, those are taken for which
    every judged day had an edition. Raises ExperimentError.
    """
    days = days_of(run, "staleness", consumer)
    config = run.workspace.config
    middle = days[len(days) // 2]  # without evaluation.start, the later half is judged
    start = max(days[0], config.evaluation.start or middle)
    reach = (start - days[0]).days - config.lifecycle.lag_days
    chosen = tuple(age for age in ages if age <= max(0, reach))
    spec = config.downstream[consumer]
    asked = {
        "frozen": Backtest(spec, ("all",), stale_days=chosen),
        "others": Backtest(spec, ("none", SHUFFLED)),
    }
    backtested = backtest(run, "staleness", consumer, asked)
    judged = merged(dict(judged_by(backtested)))
    judged = judged.take(np.flatnonzero(judged.days_N >= start.toordinal()))
    span = config.evaluation
    variants = [stale_name("all", age) for age in chosen]
    found = lift_table(
        judged,
        span.bootstrap,
        span.confidence,
        BOOTSTRAP_SEED,
        further=[(variant, "all") for variant in variants[1:]],
    )
    lifts = {(row.variant, row.baseline): row for row in found}
    fresh = lifts["all", "none"]
    rows = []
    for age, variant in zip(chosen, variants, strict=True):
        row = lifts[variant, "none"].as_json() | {"frozen_days": age}
        if fresh.low > 0:
            row["kept"] = lifts[variant, "none"].roc_auc_lift_pct / fresh.roc_auc_lift_pct
        if age:
            over = lifts[variant, "all"]
            row |= {
                "over_fresh_pct": over.roc_auc_lift_pct,
                "over_fresh_low": over.low,
                "over_fresh_high": over.high,
            }
        rows.append(row | {"frozen": f"{age} days"})
    oldest = rows[-1]
    answer = (
        f"{consumer.upper()} ranker: vectors frozen for {oldest['frozen']} still give"
        f" {oldest['roc_auc_lift_pct']:+.2f} % (interval {oldest['low']:.2f} to"
        f" {oldest['high']:.2f}) of the fresh ones' {fresh.roc_auc_lift_pct:+.2f} %."
    )
    if fresh.low <= 0:
        answer = (
            f"{consumer.upper()} ranker: the fresh vectors' lift is not shown"
            f" ({fresh.roc_auc_lift_pct:+.2f} %, {fresh.low:.2f} to {fresh.high:.2f}), so what"
            " staleness costs cannot be told."
        )
    answer += control_note(lifts[SHUFFLED, "none"])
    rows.append(lifts[SHUFFLED, "none"].as_json() | {"frozen": "shuffled, 0 days"})
    drawn = rows[:-1]
    line = Series(
        "all embeddings",
        tuple(float(age) for age in chosen),
        *(tuple(row[key] for row in drawn) for key in ("roc_auc_lift_pct", "low", "high")),
    )
    chart = Chart(
        f"staleness-{consumer}",
        f"Staleness, {consumer.upper()} ranker",
        "lines",
        "vectors frozen for, days",
        "lift of ROC-AUC, %",
        (line,),
        "The band is the interval.",
    )
    notes = [
        "The ranker learns with vectors as they were served, and meets the older ones only when it"
        " is judged; it sees their age. All lines of the table are about the same rows."
    ]
    if len(chosen) < len(ages):
        notes.append(
            f"Longer than {chosen[-1]} days cannot be asked: the first judged day ({judged.day(0)})"
            " had no edition so old."
        )
    return Table(
        "staleness",
        f"staleness, {consumer.upper()} ranker",
        consumer,
        str(judged.day(0)),
        str(judged.day(-1)),
        answer,
        COLUMNS,
        tuple(rows),
        tuple(notes),
        (chart,),
    )
