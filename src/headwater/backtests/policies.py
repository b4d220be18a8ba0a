"""T1: aggregation policies, by what they gain a ranker and what they do to vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headwater.backtests.backtest import (
    Backtest,
    backtest,
    days_of,
    merged,
    renamed,
    running,
)
from headwater.backtests.smoothness import Smoothness
from headwater.config import SHUFFLED, PolicyConfig, parse_policy
from headwater.evaluation import Chart, Column, Judged, Lift, Series, Table
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
    lift_chart,
    training_caveat,
    within_note,
)

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
    *WITHIN,
    *change_columns("over_first", "over the first", "+.3f"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("pr_auc_lift_pct", "PR-AUC lift %", "+.2f", "pr_low", "pr_high"),
    Column("cosine", "day-over-day cosine", ".4f"),
    Column("age", "mean age, days", ".2f"),
)
NOTES = (
    (
        "Cosines are of an entity's published vector with the day before's, over those seen"
        " again; both columns are means over the embeddings."
    ),
    "The best of several is chosen after the fact: read it with its interval over the first.",
)


@dataclass(frozen=True)
class _Found:
    """`smoothness` is by policy, in the order asked for; policies are compared with the first."""

    judged: Judged
    lifts: Lifts
    smoothness: Mapping[str, Smoothness]

    @property
    def first(self) -> str:
        return next(iter(self.smoothness))

    def over_first(self, policy: str) -> Lift | None:
        return self.lifts.find(policy, self.first)


def policy_study(asked: Asked) -> Table:
    """T1: what each aggregation policy gains the ranker."""
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
    found = _gather(run, policies, consumer)
    return Table(
        name="T1",
        title=f"aggregation policies, {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(found.judged.day(0)),
        last_day=str(found.judged.day(-1)),
        answer=_answer(consumer, found),
        columns=COLUMNS,
        rows=tuple(_row(found, lift) for lift in found.lifts.against("none").values()),
        notes=(interval_note(found.lifts), within_note(found.judged), *NOTES),
        charts=_charts(consumer, found, run.workspace.config.evaluation.confidence),
    )


def _gather(run: Run, policies: Mapping[str, str], consumer: str) -> _Found:
    days = days_of(run, "T1", consumer)
    spec = run.workspace.config.downstream[consumer]
    first = next(iter(policies))
    chosen = {"none": Backtest(spec, ("none",), parse_policy(policies[first]))}
    for name, text in policies.items():
        chosen[name] = Backtest(spec, ("all",), _with_warm_up(parse_policy(text), run))
    chosen[SHUFFLED] = Backtest(spec, (SHUFFLED,))
    backtested = backtest(run, "T1", consumer, chosen)
    judged = merged(renamed(one.judged, name) for name, one in backtested.items())
    further = [
        *((name, first) for name in policies if name != first),
        *control_pairs(judged.scores, policies),
    ]
    ordinals = set(judged.days_N.tolist())
    judged_days = [day for day in days if day.toordinal() in ordinals]
    return _Found(
        judged,
        Lifts.of(judged, run.workspace.config.evaluation, further),
        {
            name: Smoothness.of(backtested[name].run.workspace.layout, judged_days)
            for name in policies
        },
    )


def _with_warm_up(policy: PolicyConfig, run: Run) -> PolicyConfig:
    """With the warm-up of the declared policy, where there is one to have."""
    if "warm_up_days" not in type(policy).model_fields:
        return policy
    days = getattr(run.workspace.config.lifecycle.policy, "warm_up_days", 0)
    return policy.model_copy(update={"warm_up_days": days})


def _row(found: _Found, lift: Lift) -> Row:
    row = lift.as_json()
    over = found.over_first(lift.variant)
    if over is not None:
        row |= change_cells("over_first", over)
    smoothness = found.smoothness.get(lift.variant)
    if smoothness is not None:
        row |= {
            "cosine_day_over_day": smoothness.cosines,
            "age_days": smoothness.ages,
            "cosine": smoothness.cosine,
            "age": smoothness.age,
        }
    return row


def _answer(consumer: str, found: _Found) -> str:
    gains = [found.lifts.get(policy) for policy in found.smoothness]
    best = max(gains, key=lambda lift: lift.roc_auc)
    said = (
        f"{consumer.upper()} ranker: of {len(gains)} policies {best.variant} gains most,"
        f" {best.roc_auc_lift_pct:+.2f} %"
    )
    lead = found.over_first(best.variant)
    if lead is not None:
        said += (
            f", {lead.roc_auc_lift_pct:+.3f} % over {found.first} (interval {lead.low:+.3f} to"
            f" {lead.high:+.3f}; {beside(lead)})"
        )
    return f"{said}.{control_note(found.lifts, best.variant)}{training_caveat(found.lifts)}"


def _charts(consumer: str, found: _Found, confidence: float) -> tuple[Chart, ...]:
    title = f"T1: policies, {consumer.upper()} ranker"
    return (
        lift_chart(f"T1-{consumer}", title, found.lifts, confidence),
        _smoothness_chart(found),
    )


def _smoothness_chart(found: _Found) -> Chart:
    """A point for each policy whose cosine is known."""
    cosines = {
        policy: made.cosine for policy, made in found.smoothness.items() if made.cosine is not None
    }
    points = Series(
        "policies",
        tuple(cosines.values()),
        tuple(found.lifts.get(policy).roc_auc_lift_pct for policy in cosines),
        labels=tuple(cosines),
    )
    return Chart(
        "T1-smoothness",
        "Smoothness against gain",
        "points",
        "day-over-day cosine",
        "lift of ROC-AUC, %",
        (points,),
    )
