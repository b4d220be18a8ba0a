"""T2 and T3: what each set of embeddings gains a ranker, and what each adds to a smaller one."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.config import SHUFFLED, FactoryConfig, embedding_names
from headwater.evaluation import Column, Judged, Lift, Table, Variant
from headwater.evaluation.verdict import corrected_tone, shown
from headwater.studies.comparison import (
    WITHIN,
    Lifts,
    beside,
    control_note,
    control_pairs,
    interval_note,
    lift_chart,
    reading_variant,
    training_caveat,
    within_note,
)

MOST_STEPS = 8  # of more than these, comparisons between variants would fill the page
COLUMNS = (
    Column("variant", "variant"),
    Column("baseline", "against"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    *WITHIN,
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
    variants = tuple(judged.scores)
    further = [
        *steps(variants, embedding_names(config.model_dump())),
        *control_pairs(variants, ["all"] if "all" in variants else variants),
    ]
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
        answer=finding(
            consumer, lifts.rows, own_variant(config, consumer), 1 - config.evaluation.confidence
        ),
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


def finding(consumer: str, rows: Sequence[Lift], own: str, alpha: float = 0.05) -> str:
    """Does it help, how much, how sure; is the gain the vectors' own; what do the others add to the
    variant `own`.
    """
    lifts = Lifts(tuple(rows))
    variants = lifts.against("none")
    spoken = _spoken_of(variants)
    return (
        f"{consumer.upper()} ranker: {_effect(variants, spoken, alpha)}, from"
        f" {variants['none'].roc_auc:.4f} without.{control_note(lifts, spoken)}"
        f"{_transfer(lifts, own)}{training_caveat(lifts)}"
    )


def _spoken_of(variants: dict[str, Lift]) -> str:
    """The variant that reads all embeddings or, without one, the best that reads any."""
    if "all" in variants:
        return "all"
    reading = [name for name in variants if name not in ("none", SHUFFLED)]
    return max(reading or [reading_variant(variants)], key=lambda name: variants[name].roc_auc)


def _effect(variants: dict[str, Lift], spoken: str, alpha: float) -> str:
    """What the variant gains. The best of several is chosen after the fact: of it counts what is
    shown after correction for their number.
    """
    best, what = variants[spoken], "reading all embeddings"
    tone = shown(best)
    if spoken != "all":
        reading = [name for name in variants if name not in ("none", SHUFFLED)]
        what = f"the variant {spoken}, the best of {len(reading)} afterwards,"
        tone = corrected_tone(best, alpha)
    found = f"{best.low:.2f} to {best.high:.2f}; {beside(best)}"
    if tone == "good":
        return f"{what} raises ROC-AUC by {best.roc_auc_lift_pct:.2f} % (interval {found})"
    if tone == "bad" and best.roc_auc_lift_pct < 0:
        return f"{what} lowers ROC-AUC by {-best.roc_auc_lift_pct:.2f} % (interval {found})"
    figures = f"{best.roc_auc_lift_pct:+.2f} %, interval {found}"
    if tone == "bad":
        return f"{what} worsens the order within {best.group_of}: {figures}"
    if tone == "mixed":
        return f"{what} raises one ROC-AUC and lowers another: {figures}"
    if not best.rows_needed:
        return f"no effect is shown: {figures}"
    return (
        f"no effect is shown: {figures}; about {best.rows_needed:,} rows would be needed to show"
        " an effect of that size"
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
    words = {"good": "shown", "bad": "a loss", "mixed": "mixed"}
    return f"{beside(step)}; {words.get(shown(step), 'not shown')}"


def _grown(step: Lift, variants: dict[str, Lift], own: str) -> str:
    """By how much the lift over no embeddings grows with the step, where both are shown."""
    if not shown(step) == shown(variants[own]) == "good":
        return ""
    times = variants["all"].roc_auc_lift_pct / variants[own].roc_auc_lift_pct
    return f", a lift {times - 1:+.0%} larger"


# ---- the notes -----------------------------------------------------------------------------------


def _notes(config: FactoryConfig, consumer: str, judged: Judged, lifts: Lifts) -> tuple[str, ...]:
    users = len(set(judged.users_N.tolist()))
    tested = sum(row.p_value is not None for row in lifts.rows)
    note = (
        f"{len(judged.labels_N):,} rows of {users:,} users, {float(judged.labels_N.mean()):.1%}"
        f" positive; {tested} comparisons, p corrected for their"
        " number (Holm)."
    )
    given = config.tasks[config.downstream[consumer].task].given
    notes = (note, interval_note(lifts), within_note(judged))
    return (*notes, f"Rows where {given} is 1 only.") if given else notes
