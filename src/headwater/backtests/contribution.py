"""Contribution: which embedding still earns its bytes. Each is left out, and each is dealt out to
the wrong entities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headwater.backtests.backtest import Backtest, backtest, days_of, running
from headwater.config import SHUFFLED, FactoryConfig
from headwater.embeddings import make_policy
from headwater.evaluation import Chart, Column, Judged, Lift, Table
from headwater.evaluation.verdict import corrected_tone, shown
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.comparison import (
    Lifts,
    Row,
    change_cells,
    change_columns,
    interval_note,
    lift_series,
    training_caveat,
    within_note,
)

COLUMNS = (
    Column("embedding", "embedding"),
    *change_columns("dropped", "left out: change", "+.3f"),
    Column("dropped_p_holm", "p (Holm)", ".2g"),
    *change_columns("shuffled", "shuffled: change", "+.3f"),
    Column("shuffled_p_holm", "p (Holm)", ".2g"),
    Column("bytes", "bytes a vector", ",d"),
    Column("rows_needed", "rows needed", ".2g"),
    Column("verdict", "verdict", "s"),
)
BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0}
EARNS = "earns its bytes"


@dataclass(frozen=True)
class _Found:
    """`lifts` are over the variant that reads all `embeddings`, whose vectors take `sizes`
    bytes.
    """

    judged: Judged
    lifts: Lifts
    sizes: Mapping[str, int]
    alpha: float

    @property
    def embeddings(self) -> tuple[str, ...]:
        return tuple(self.sizes)

    def of(self, variant: str) -> Lift:
        return self.lifts.get(variant, "all")

    def dropped(self, name: str) -> Lift:
        """Without the embedding."""
        return self.of(f"all-{name}")

    def shuffled(self, name: str) -> Lift:
        """With the embedding dealt out to the wrong entities."""
        return self.of(f"all~{name}")

    def verdict(self, name: str) -> str:
        """A loss without the embedding is the vectors' own where dealing them out loses too: what
        reading more numbers does is the same then.
        """
        dropped = corrected_tone(self.dropped(name), self.alpha)
        if dropped == "flat":
            return "not shown: the others may stand in for it"
        if dropped == "mixed":
            return "mixed: one ROC-AUC rises, another falls"
        if dropped == "good":
            return "hurts"
        shuffled = corrected_tone(self.shuffled(name), self.alpha)
        return EARNS if shuffled == "bad" else "in doubt: shuffled, no loss is shown"


def contribution_study(asked: Asked) -> Table:
    """Which embedding still earns its bytes."""
    with running(asked) as run:
        return contribution_table(run, asked.consumer)


def contribution_table(run: Run, consumer: str = "ctr") -> Table:
    """What the ranker that reads all embeddings loses without each one (trained without it), and
    with each one shuffled (trained so).

    An embedding earns its bytes where leaving it out is shown to lose ROC-AUC, corrected for the
    number of variants. Raises ExperimentError where there is no such consumer or no day.
    """
    found = _gather(run, consumer)
    return Table(
        name="contribution",
        title=f"contribution of each embedding, {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(found.judged.day(0)),
        last_day=str(found.judged.day(-1)),
        answer=_answer(consumer, found),
        columns=COLUMNS,
        rows=tuple(_row(found, name) for name in found.embeddings),
        notes=_notes(found),
        charts=_charts(consumer, found),
    )


def _gather(run: Run, consumer: str) -> _Found:
    config, names = run.workspace.config, run.workspace.schema.embedding_names()
    days_of(run, "contribution", consumer)
    changes = [f"all{sign}{name}" for name in names for sign in "-~"]
    variants = ("none", "all", SHUFFLED, *changes)
    chosen = {"variants": Backtest(config.downstream[consumer], variants)}
    judged = backtest(run, "contribution", consumer, chosen)["variants"].judged
    return _Found(
        judged=judged,
        lifts=Lifts.of(judged, config.evaluation, baseline="all"),
        sizes={name: _bytes(config, run.rankers[0].widths[name]) for name in names},
        alpha=1 - config.evaluation.confidence,
    )


def _bytes(config: FactoryConfig, width: int) -> int:
    """Of one published vector, which holds several where the policy keeps the last ones."""
    policy = make_policy(config.lifecycle.policy)
    depth = policy.depth if policy.sequence else 1
    return int(depth * BYTES[config.store.encoding] * width)


def _row(found: _Found, name: str) -> Row:
    dropped, shuffled = found.dropped(name), found.shuffled(name)
    return {
        "embedding": name,
        "bytes": found.sizes[name],
        "rows_needed": dropped.rows_needed,
        **change_cells("dropped", dropped),
        "dropped_p_holm": dropped.p_holm,
        **change_cells("shuffled", shuffled),
        "shuffled_p_holm": shuffled.p_holm,
        "verdict": found.verdict(name),
        "n": dropped.n,
        "seeds": dropped.seeds,
    }


def _answer(consumer: str, found: _Found) -> str:
    ranker, caveat = f"{consumer.upper()} ranker", training_caveat(found.lifts)
    if shown(found.of("none")) != "bad":
        return (
            f"{ranker}: all embeddings together are not shown to lift it, so none of them can be"
            f" shown to earn its bytes.{caveat}"
        )
    if shown(found.of(SHUFFLED)) != "bad":
        return (
            f"{ranker}: all embeddings together are not shown to gain over their shuffled control,"
            f" so none of them can be shown to earn its bytes.{caveat}"
        )
    earning = [name for name in found.embeddings if found.verdict(name) == EARNS]
    if not earning:
        return (
            f"{ranker}: no single embedding is missed when it alone is left out; the others stand"
            f" in for it.{caveat}"
        )
    return (
        f"{ranker}: without it, something is lost that the others do not make up for:"
        f" {', '.join(earning)}.{caveat}"
    )


def _notes(found: _Found) -> tuple[str, ...]:
    none, shuffled = found.of("none"), found.of(SHUFFLED)
    return (
        (
            f"Against the variant all (ROC-AUC {found.of('all').roc_auc:.4f}); without any"
            f" embedding {none.roc_auc_lift_pct:+.2f} %, with all of them shuffled"
            f" {shuffled.roc_auc_lift_pct:+.2f} %. Every variant was trained anew. p values are"
            f" corrected over all {len(found.lifts.rows) - 1} variants (Holm)."
        ),
        interval_note(found.lifts),
        within_note(found.judged),
        (
            "Embeddings share what they know: two of which neither is missed alone may be missed"
            " together (T2 shows every subset)."
        ),
    )


def _charts(consumer: str, found: _Found) -> tuple[Chart, ...]:
    lifts = {
        "left out": [found.dropped(name) for name in found.embeddings],
        "shuffled": [found.shuffled(name) for name in found.embeddings],
    }
    return tuple(
        Chart(
            f"contribution-{consumer}-{what.replace(' ', '-')}",
            f"Contribution: {what}",
            "bars",
            "change of ROC-AUC, %",
            "",
            (lift_series(what, found.embeddings, changes),),
            "Against the ranker that reads all.",
        )
        for what, changes in lifts.items()
    )
