"""T2 and T3: what each set of embeddings gains a ranker, and what each adds to a smaller one."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.config import SHUFFLED, FactoryConfig, embedding_names
from headwater.evaluation import Column, Judged, Lift, Table, Variant
from headwater.studies.comparison import Lifts, control_note, lift_chart, reading_variant

MOST_STEPS = 8  # of more than these, comparisons between variants would fill the page
COLUMNS = (
    Column("variant", "variant"),
    Column("baseline", "against"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("pr_auc", "PR-AUC", ".4f"),
    Column("pr_auc_lift_pct", "PR-AUC lift %", "+.2f", "pr_low", "pr_high"),
    Column("log_loss", "log loss", ".4f"),
    Column("ne", "NE", ".4f"),
    Column("rows_needed", "rows needed", ".2g"),
)


def lifts_of(config: FactoryConfig, name: str, consumer: str, judged: Judged) -> Table:
    """The table `name` of a consumer's variants.

    Raises ExperimentError where the judged rows hold one class only.
    """
    further = steps(tuple(judged.scores), embedding_names(config.model_dump()))
    lifts = Lifts.of(judged, config.evaluation, further)
    chart = lift_chart(
        f"{name}-{consumer}",
        f"{name}: lift of the {consumer.upper()} ranker",
        lifts,
        config.evaluation.confidence,
    )
    return Table(
        name=name,
        title=f"lift of the {consumer.upper()} ranker ({config.downstream[consumer].task})",
        consumer=consumer,
        first_day=str(judged.day(0)),
        last_day=str(judged.day(-1)),
        answer=finding(consumer, lifts.rows, own_variant(config, consumer)),
        columns=COLUMNS,
        rows=tuple(row.as_json() for row in lifts.rows),
        notes=_notes(config, consumer, judged, lifts),
        charts=(chart,),
    )


def steps(variants: Sequence[str], known: Sequence[str]) -> list[tuple[str, str]]:
    """(larger, smaller) for every two variants of which one reads all that the other reads and no
    variant lies in between.
    """
    reads = {
        name: frozenset(Variant.parse(name, known).embeddings)
        for name in variants
        if name != SHUFFLED and "~" not in name
    }
    reads = {name: embeddings for name, embeddings in reads.items() if embeddings}
    pairs = [
        (large, small)
        for large in reads
        for small in reads
        if reads[small] < reads[large]
        and not any(reads[small] < reads[between] < reads[large] for between in reads)
    ]
    return pairs if len(pairs) <= MOST_STEPS else []


def own_variant(config: FactoryConfig, consumer: str) -> str:
    """The variant that reads the embeddings of the upstream that learns the consumer's own task."""
    task = config.downstream[consumer].task
    own = next((name for name, spec in config.upstreams.items() if task in spec.tasks), consumer)
    return f"{own}_user+{own}_item"


# ---- the answer ----------------------------------------------------------------------------------


def finding(consumer: str, rows: Sequence[Lift], own: str) -> str:
    """Does it help, how much, how sure; is the gain the vectors' own; what do the others add to the
    variant `own`.
    """
    lifts = Lifts(tuple(rows))
    variants = lifts.against("none")
    return (
        f"{consumer.upper()} ranker: {_effect(variants)}, from"
        f" {variants['none'].roc_auc:.4f} without."
        f"{control_note(variants.get(SHUFFLED))}{_transfer(lifts, own)}"
    )


def _effect(variants: dict[str, Lift]) -> str:
    """What the variant that reads all embeddings gains or, without one, the best that reads any."""
    reading = [row for name, row in variants.items() if name not in ("none", SHUFFLED)]
    candidates = reading or [variants[reading_variant(variants)]]
    best = variants.get("all") or max(candidates, key=lambda row: row.roc_auc)
    what = f"the variant {best.variant}, the best of {len(reading)} afterwards,"
    if best.variant == "all":
        what = "reading all embeddings"
    interval = f"{best.low:.2f} to {best.high:.2f}"
    if best.low > 0:
        return f"{what} raises ROC-AUC by {best.roc_auc_lift_pct:.2f} % (interval {interval})"
    if best.high < 0:
        return f"{what} lowers ROC-AUC by {-best.roc_auc_lift_pct:.2f} % (interval {interval})"
    found = (
        f"no effect is shown: {best.roc_auc_lift_pct:+.2f} %, and the interval {interval} holds"
        " zero"
    )
    if not best.rows_needed:
        return found
    return (
        f"{found}; about {best.rows_needed:,} rows would be needed to show an effect of that size"
    )


def _transfer(lifts: Lifts, own: str) -> str:
    """What the other upstreams add to a consumer's own: the paper's T3."""
    step = lifts.find("all", own)
    if step is None:
        return ""
    needed = ""
    if step.rows_needed:
        needed = f"; about {step.rows_needed:,} rows would show an effect of that size"
    return (
        f" To those of its own upstream the others add {step.roc_auc_lift_pct:+.2f} % (interval"
        f" {step.low:.2f} to {step.high:.2f}, {_how_sure(step)}"
        f"{_grown(step, lifts.against('none'), own)}{needed})."
    )


def _how_sure(step: Lift) -> str:
    if step.low > 0:
        return "shown"
    return "not shown" if step.high >= 0 else "a loss"


def _grown(step: Lift, variants: dict[str, Lift], own: str) -> str:
    """By how much the lift over no embeddings grows with the step, where both are shown."""
    if step.low <= 0 or variants[own].low <= 0:
        return ""
    times = variants["all"].roc_auc_lift_pct / variants[own].roc_auc_lift_pct
    return f", a lift {times - 1:+.0%} larger"


# ---- the notes -----------------------------------------------------------------------------------


def _notes(config: FactoryConfig, consumer: str, judged: Judged, lifts: Lifts) -> tuple[str, ...]:
    users = len(set(judged.users_N.tolist()))
    tested = sum(row.p_value is not None for row in lifts.rows)
    note = (
        f"{len(judged.labels_N):,} rows of {users:,} users, {float(judged.labels_N.mean()):.1%}"
        f" positive; {lifts.rows[0].seeds} seeds; {tested} comparisons, p corrected for their"
        " number (Holm)."
    )
    given = config.tasks[config.downstream[consumer].task].given
    return (note, f"Rows where {given} is 1 only.") if given else (note,)
