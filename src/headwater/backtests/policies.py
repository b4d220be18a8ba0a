"""T1: aggregation policies, by what they gain a ranker and what they do to vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from headwater.backtests.backtest import Backtest, backtest, days_of, judged_by, merged, running
from headwater.config import SHUFFLED, PolicyConfig, parse_policy
from headwater.evaluation import Chart, Column, Judged, Series, Table, lift_table
from headwater.pipeline.run import Run
from headwater.store.reports import SnapshotHealth, read_copy
from headwater.studies import Asked
from headwater.studies.lifts import BOOTSTRAP_SEED, lift_chart

T1_POLICIES: dict[str, str] = {
    "latest (ACC)": "{kind: latest}",
    **{f"ema {w}": f"{{kind: ema, weight: {w}}}" for w in (0.2, 0.5, 0.8, 0.9)},
    "ema half-life 3 days": "{kind: ema, half_life_days: 3}",
    "ema 0.8 renormalised": "{kind: ema, weight: 0.8, renormalize: true}",
    "mean of 7 (AP)": "{kind: mean, k: 7}",
    "last 3 as a sequence": "{kind: last, k: 3}",
}


COLUMNS = (
    Column("variant", "policy"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    Column("over_first_pct", "over the first, %", "+.3f", "over_first_low", "over_first_high"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("pr_auc_lift_pct", "PR-AUC lift %", "+.2f", "pr_low", "pr_high"),
    Column("cosine", "day-over-day cosine", ".4f"),
    Column("age", "mean age, days", ".2f"),
)


def policy_study(asked: Asked) -> Table:
    with running(asked) as run:
        return policy_table(run, consumer=asked.consumer)


def policy_table(
    run: Run, policies: Mapping[str, str] = T1_POLICIES, consumer: str = "ctr"
) -> Table:
    """Every policy's lift of a ranker that reads all embeddings, against one that reads none, on
    the same rows and seeds; and what the policy does to vectors (means over embeddings and judged
    days).

    Policies that average keep the warm-up of the declared policy. Raises ExperimentError where
    there is no such consumer or no day.
    """
    days = days_of(run, "T1", consumer)
    spec, span = run.workspace.config.downstream[consumer], run.workspace.config.evaluation
    first = next(iter(policies))
    chosen = {"none": Backtest(spec, ("none",), parse_policy(policies[first]))}
    chosen |= {
        name: Backtest(spec, ("all",), _with_warm_up(parse_policy(text), run))
        for name, text in policies.items()
    }
    chosen[SHUFFLED] = Backtest(spec, (SHUFFLED,))
    backtested = backtest(run, "T1", consumer, chosen)
    judged = merged({name: renamed(part, name) for name, part in judged_by(backtested)})
    lifts = lift_table(
        judged,
        span.bootstrap,
        span.confidence,
        BOOTSTRAP_SEED,
        further=[(name, first) for name in policies if name != first],
    )
    over = {row.variant: row for row in lifts if row.baseline == first}
    judged_days = {judged.day(row) for row in np.unique(judged.days_N, return_index=True)[1]}
    rows = []
    for row in lifts[: len(chosen)]:
        extra: dict[str, Any] = {}
        if row.variant in over:
            found = over[row.variant]
            extra = {
                "over_first_pct": found.roc_auc_lift_pct,
                "over_first_low": found.low,
                "over_first_high": found.high,
            }
        if row.variant in policies:
            workspace = backtested[row.variant].run.workspace
            reports = [read_copy(workspace.layout, day) for day in days if day in judged_days]
            health = [report.snapshots for report in reports if report is not None]
            by_name = {
                key: _mean(health, figure)
                for key, figure in (
                    ("cosine_day_over_day", "cosine_median"),
                    ("age_days", "age_mean_days"),
                )
            }
            extra |= by_name | {
                short: _whole(by_name[key])
                for short, key in (("cosine", "cosine_day_over_day"), ("age", "age_days"))
            }
        rows.append(row.as_json() | extra)
    drawn = [row for row in lifts[: len(chosen)] if row.variant in policies]
    best = max(drawn, key=lambda row: row.roc_auc)
    lead = over.get(best.variant)
    sure = (
        ""
        if lead is None
        else (
            f", {lead.roc_auc_lift_pct:+.3f} % over {first} (interval {lead.low:+.3f} to"
            f" {lead.high:+.3f})"
        )
    )
    answer = (
        f"{consumer.upper()} ranker: of {len(policies)} policies {best.variant} gains most,"
        f" {best.roc_auc_lift_pct:+.2f} %{sure}."
    )
    notes = (
        (
            "Cosines are of an entity's published vector with the day before's, over those seen"
            " again; both columns are means over the embeddings."
        ),
        "The best of several is chosen after the fact: read it with its interval over the first.",
    )
    chart = lift_chart(
        f"T1-{consumer}",
        f"T1: policies, {consumer.upper()} ranker",
        lifts[: len(chosen)],
        span.confidence,
    )
    return Table(
        "T1",
        f"aggregation policies, {consumer.upper()} ranker",
        consumer,
        str(judged.day(0)),
        str(judged.day(-1)),
        answer,
        COLUMNS,
        tuple(rows),
        notes,
        (chart, _smoothness(rows)),
    )


def _smoothness(rows: list[dict[str, Any]]) -> Chart:
    shown = [row for row in rows if row.get("cosine") is not None]
    cosines, lifts, names = (
        tuple(row[key] for row in shown) for key in ("cosine", "roc_auc_lift_pct", "variant")
    )
    points = Series("policies", cosines, lifts, labels=names)
    return Chart(
        "T1-smoothness",
        "Smoothness against gain",
        "points",
        "day-over-day cosine",
        "lift of ROC-AUC, %",
        (points,),
    )


def renamed(judged: Judged, name: str) -> Judged:
    """The one variant that was judged, under another name."""
    (scores,) = judged.scores.values()
    return replace(judged, scores={name: scores})


def _whole(by_name: Mapping[str, float]) -> float | None:
    return float(np.mean(list(by_name.values()))) if by_name else None


def _with_warm_up(policy: PolicyConfig, run: Run) -> PolicyConfig:
    days = getattr(run.workspace.config.lifecycle.policy, "warm_up_days", 0)
    return (
        policy.model_copy(update={"warm_up_days": days})
        if "warm_up_days" in type(policy).model_fields
        else policy
    )


def _mean(days: list[Mapping[str, SnapshotHealth]], figure: str) -> dict[str, float]:
    names = dict.fromkeys(name for day in days for name in day)
    values = {name: [getattr(day[name], figure) for day in days if name in day] for name in names}
    known = {
        name: [value for value in found if value is not None] for name, found in values.items()
    }
    return {name: float(np.mean(found)) for name, found in known.items() if found}
