"""T2 and T3: what each set of embeddings gains a ranker, and what each adds to a smaller one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headwater.config import SHUFFLED, FactoryConfig, embedding_names
from headwater.evaluation import Chart, Column, Judged, Lift, Series, Table, Variant, lift_table

BOOTSTRAP_SEED = 20250904
MOST_STEPS = 8  # of more than these, comparisons between variants would fill the page
LIFT_COLUMNS = (
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
    """The table `name` of a consumer's variants. Raises ExperimentError where the judged rows hold
    one class only.
    """
    span = config.evaluation
    rows = lift_table(
        judged,
        span.bootstrap,
        span.confidence,
        BOOTSTRAP_SEED,
        further=steps(tuple(judged.scores), embedding_names(config.model_dump())),
    )
    task = config.tasks[config.downstream[consumer].task]
    base = float(judged.labels_N.mean())
    notes = [
        f"{len(judged.labels_N):,} rows of {len(set(judged.users_N.tolist())):,} users, {base:.1%}"
        f" positive; {rows[0].seeds} seeds; {sum(row.p_value is not None for row in rows)}"
        " comparisons, p corrected for their number (Holm)."
    ]
    if task.given:
        notes.append(f"Rows where {task.given} is 1 only.")
    return Table(
        name,
        f"lift of the {consumer.upper()} ranker ({config.downstream[consumer].task})",
        consumer,
        str(judged.day(0)),
        str(judged.day(-1)),
        finding(consumer, rows, own_variant(config, consumer)),
        LIFT_COLUMNS,
        tuple(row.as_json() for row in rows),
        tuple(notes),
        (
            lift_chart(
                f"{name}-{consumer}",
                f"{name}: lift of the {consumer.upper()} ranker",
                rows,
                span.confidence,
            ),
        ),
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


def lift_chart(name: str, title: str, rows: Sequence[Lift], confidence: float) -> Chart:
    """Bars of the lifts against the model without embeddings, with their intervals."""
    shown = [row for row in rows if row.baseline == "none" and row.variant != "none"]
    bars = Series(
        "lift",
        tuple(row.variant for row in shown),
        tuple(row.roc_auc_lift_pct for row in shown),
        tuple(row.low for row in shown),
        tuple(row.high for row in shown),
    )
    note = (
        f"ROC-AUC against the same model without embeddings, per cent, with {confidence:.0%}"
        " intervals."
    )
    return Chart(name, title, "bars", "lift of ROC-AUC, %", "", (bars,), note)


def reading_variant(variants: Iterable[str]) -> str:
    """The variant to speak of: `all`, or else the last that reads embeddings as they are, or else
    what there is.
    """
    names = list(variants)
    return (
        "all"
        if "all" in names
        else [
            *(name for name in names if name == "none"),
            *(name for name in names if name not in ("none", SHUFFLED)),
        ][-1]
    )


def own_variant(config: FactoryConfig, consumer: str) -> str:
    """The variant that reads the embeddings of the upstream that learns the consumer's own task."""
    task = config.downstream[consumer].task
    own = next((name for name, spec in config.upstreams.items() if task in spec.tasks), consumer)
    return f"{own}_user+{own}_item"


def finding(consumer: str, rows: Sequence[Lift], own: str) -> str:
    """The answer in a sentence or three: does it help, how much, how sure; is the gain the vectors'
    own; what do the others add to the variant `own`.
    """
    variants = {row.variant: row for row in rows if row.baseline == "none"}
    reading = [row for name, row in variants.items() if name not in ("none", SHUFFLED)]
    best = variants.get("all") or max(
        reading or [variants[reading_variant(variants)]], key=lambda row: row.roc_auc
    )
    base, what = (
        variants["none"],
        (
            "reading all embeddings"
            if best.variant == "all"
            else f"the variant {best.variant}, the best of {len(reading)} afterwards,"
        ),
    )
    if best.low > 0:
        found = (
            f"{what} raises ROC-AUC by {best.roc_auc_lift_pct:.2f} % (interval {best.low:.2f} to"
            f" {best.high:.2f})"
        )
    elif best.high < 0:
        found = (
            f"{what} lowers ROC-AUC by {-best.roc_auc_lift_pct:.2f} % (interval {best.low:.2f} to"
            f" {best.high:.2f})"
        )
    else:
        needed = (
            f"; about {best.rows_needed:,} rows would be needed to show an effect of that size"
            if best.rows_needed
            else ""
        )
        found = (
            f"no effect is shown: {best.roc_auc_lift_pct:+.2f} %, and the interval {best.low:.2f}"
            f" to {best.high:.2f} holds zero{needed}"
        )
    return (
        f"{consumer.upper()} ranker: {found}, from {base.roc_auc:.4f}"
        f" without.{control_note(variants.get(SHUFFLED))}{_transfer(rows, variants, own)}"
    )


def control_note(control: Lift | None) -> str:
    """Whether the gain is the vectors' own."""
    if control is None:
        return " No shuffled control was judged."
    if control.low > 0:
        return (
            f" Beware: the shuffled control lifts too ({control.roc_auc_lift_pct:+.2f} %), so the"
            " gain is not the vectors' own."
        )
    return f" The shuffled control does not lift ({control.roc_auc_lift_pct:+.2f} %)."


def _transfer(rows: Sequence[Lift], variants: dict[str, Lift], own: str) -> str:
    """What the other upstreams add to a consumer's own: the paper's T3."""
    step = next((row for row in rows if (row.variant, row.baseline) == ("all", own)), None)
    if step is None:
        return ""
    sure = "shown" if step.low > 0 else "not shown" if step.high >= 0 else "a loss"
    grown = (
        f", a lift {variants['all'].roc_auc_lift_pct / variants[own].roc_auc_lift_pct - 1:+.0%}"
        " larger"
        if step.low > 0 and variants[own].low > 0
        else ""
    )
    needed = (
        f"; about {step.rows_needed:,} rows would show an effect of that size"
        if step.rows_needed
        else ""
    )
    return (
        f" To those of its own upstream the others add {step.roc_auc_lift_pct:+.2f} % (interval"
        f" {step.low:.2f} to {step.high:.2f}, {sure}{grown}{needed})."
    )
