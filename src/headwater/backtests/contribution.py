"""Contribution: which embedding still earns its bytes. Each is left out, and each is dealt out to
the wrong entities.
"""

from __future__ import annotations

from headwater.backtests.backtest import Backtest, backtest, days_of, running
from headwater.config import SHUFFLED
from headwater.embeddings import make_policy
from headwater.evaluation import Chart, Column, Series, Table, lift_table
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.lifts import BOOTSTRAP_SEED

COLUMNS = (
    Column("embedding", "embedding"),
    Column("dropped_pct", "left out: change % (interval)", "+.3f", "dropped_low", "dropped_high"),
    Column("dropped_p_holm", "p (Holm)", ".2g"),
    Column(
        "shuffled_pct", "shuffled: change % (interval)", "+.3f", "shuffled_low", "shuffled_high"
    ),
    Column("shuffled_p_holm", "p (Holm)", ".2g"),
    Column("bytes", "bytes a vector", ",d"),
    Column("rows_needed", "rows needed", ".2g"),
    Column("verdict", "verdict", "s"),
)
BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0}


def contribution_study(asked: Asked) -> Table:
    with running(asked) as run:
        return contribution_table(run, asked.consumer)


def contribution_table(run: Run, consumer: str = "ctr") -> Table:
    """What the ranker that reads all embeddings loses without each one (trained without it), and
    with each one shuffled (trained so).

    An embedding earns its bytes where leaving it out is shown to lose ROC-AUC, corrected for the
    number of variants. Raises ExperimentError.
    """
    days_of(run, "contribution", consumer)
    config, names = run.workspace.config, run.workspace.schema.embedding_names()
    changes = [f"all{sign}{name}" for name in names for sign in "-~"]
    backtested = backtest(
        run,
        "contribution",
        consumer,
        {"variants": Backtest(config.downstream[consumer], ("none", "all", SHUFFLED, *changes))},
    )
    (one,) = backtested.values()
    judged = one.judged
    span = config.evaluation
    found = lift_table(judged, span.bootstrap, span.confidence, BOOTSTRAP_SEED, baseline="all")
    by_variant = {row.variant: row for row in found}
    widths = run.rankers[0].widths
    policy = make_policy(config.lifecycle.policy)
    depth = policy.depth if policy.sequence else 1
    rows = []
    for name in names:
        dropped, shuffled = by_variant[f"all-{name}"], by_variant[f"all~{name}"]
        row: dict[str, object] = {
            "embedding": name,
            "bytes": int(depth * BYTES[config.store.encoding] * widths[name]),
            "rows_needed": dropped.rows_needed,
        }
        for what, lift in (("dropped", dropped), ("shuffled", shuffled)):
            row |= {
                f"{what}_pct": lift.roc_auc_lift_pct,
                f"{what}_low": lift.low,
                f"{what}_high": lift.high,
                f"{what}_p_holm": lift.p_holm,
            }
        shown = (dropped.p_holm or 0) < 1 - span.confidence
        row["verdict"] = (
            "not shown: the others may stand in for it"
            if not shown
            else "earns its bytes"
            if dropped.roc_auc_lift_pct < 0
            else "hurts"
        )
        rows.append(row | {"n": dropped.n, "seeds": dropped.seeds})
    earning = [str(row["embedding"]) for row in rows if row["verdict"] == "earns its bytes"]
    answer = (
        f"{consumer.upper()} ranker: without it, something is lost that the others do not make up"
        f" for: {', '.join(earning)}."
        if earning
        else (
            f"{consumer.upper()} ranker: no single embedding is missed when it alone is left out;"
            " the others stand in for it."
        )
    )
    none = by_variant["none"]
    if none.high >= 0:
        answer = (
            f"{consumer.upper()} ranker: all embeddings together are not shown to lift it, so none"
            " of them can be shown to earn its bytes."
        )
    notes = (
        (
            f"Against the variant all (ROC-AUC {by_variant['all'].roc_auc:.4f}); without any"
            f" embedding {none.roc_auc_lift_pct:+.2f} %, with all of them shuffled"
            f" {by_variant[SHUFFLED].roc_auc_lift_pct:+.2f} %. Every variant was trained anew,"
            f" {none.seeds} seeds. p values are corrected over all {len(found) - 1} variants"
            " (Holm)."
        ),
        (
            "Embeddings share what they know: two of which neither is missed alone may be missed"
            " together (T2 shows every subset)."
        ),
    )
    series = tuple(
        Series(
            what,
            tuple(names),
            tuple(by_variant[f"all{sign}{name}"].roc_auc_lift_pct for name in names),
            tuple(by_variant[f"all{sign}{name}"].low for name in names),
            tuple(by_variant[f"all{sign}{name}"].high for name in names),
        )
        for what, sign in (("left out", "-"), ("shuffled", "~"))
    )
    charts = tuple(
        Chart(
            f"contribution-{consumer}-{one.name.replace(' ', '-')}",
            f"Contribution: {one.name}",
            "bars",
            "change of ROC-AUC, %",
            "",
            (one,),
            "Against the ranker that reads all.",
        )
        for one in series
    )
    return Table(
        "contribution",
        f"contribution of each embedding, {consumer.upper()} ranker",
        consumer,
        str(judged.day(0)),
        str(judged.day(-1)),
        answer,
        COLUMNS,
        tuple(rows),
        notes,
        charts,
    )
