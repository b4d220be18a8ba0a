"""T7: what each part of an upstream model is worth, measured by what a ranker gains from its
vectors.
"""

from __future__ import annotations

from collections.abc import Mapping

from headwater.backtests.backtest import Backtest, backtest, days_of, merged
from headwater.backtests.policies import renamed
from headwater.config import SHUFFLED, DhenConfig, UpstreamConfig
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Lift, Series, Table, lift_table
from headwater.models.upstream import sizes_of
from headwater.pipeline.day import Factory
from headwater.studies.lifts import BOOTSTRAP_SEED, control_note

DECLARED = "as declared"
ONE_BLOCK = ("mlp", "masknet", "transformer", "dcn")
COLUMNS = (
    Column("upstream", "upstream models"),
    Column("numbers", "numbers a pair", ",d"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "lift % (interval)", "+.2f", "low", "high"),
    Column(
        "over_declared_pct",
        "against as declared, % (interval)",
        "+.2f",
        "over_declared_low",
        "over_declared_high",
    ),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("rows_needed", "rows needed", ".2g"),
    Column("verdict", "verdict"),
)


def ablations(upstreams: Mapping[str, UpstreamConfig]) -> dict[str, dict[str, UpstreamConfig]]:
    """The declared upstreams with one thing other in each of them, by what that is."""

    def each(**settings: object) -> dict[str, UpstreamConfig]:
        return {name: spec.model_copy(update=settings) for name, spec in upstreams.items()}

    first = next(iter(upstreams.values()))
    found = (
        {"no contrastive loss": each(contrastive_weight=0.0)}
        if any(spec.contrastive_weight for spec in upstreams.values())
        else {"with the contrastive loss": each(contrastive_weight=0.1)}
    )
    found["no overtower" if first.overtower else "with an overtower"] = each(
        overtower=not first.overtower
    )
    for block in ONE_BLOCK:
        layers = {name: ((block,),) * len(spec.dhen.layers) for name, spec in upstreams.items()}
        found[f"DHEN of {block} only"] = {
            name: spec.model_copy(
                update={"dhen": DhenConfig(**spec.dhen.model_dump() | {"layers": layers[name]})}
            )
            for name, spec in upstreams.items()
        }
    found["no ids (content only)" if first.ids else "with ids"] = each(ids=not first.ids)
    if len(upstreams) > 1:
        tasks = tuple(dict.fromkeys(task for spec in upstreams.values() for task in spec.tasks))
        content = tuple(
            dict.fromkeys(entity for spec in upstreams.values() for entity in spec.content_vectors)
        )
        epochs, weight = (
            max(spec.epochs for spec in upstreams.values()),
            max(spec.contrastive_weight for spec in upstreams.values()),
        )
        found["one unified upstream"] = {
            "unified": first.model_copy(
                update={
                    "tasks": tasks,
                    "content_vectors": content,
                    "epochs": epochs,
                    "contrastive_weight": weight,
                    "whole_space": (),
                }
            )
        }
    return {name: changed for name, changed in found.items() if changed != dict(upstreams)}


def ablation_table(
    factory: Factory, consumer: str = "ctr", only: tuple[str, ...] | None = None
) -> Table:
    """The lift of the ranker that reads all embeddings, for the declared upstreams and for each
    ablation of them, trained anew day by day.

    `only`: some of the ablations, by name. Raises ExperimentError.
    """
    days_of(factory, "T7", consumer)
    spec, span, upstreams = (
        factory.config.downstream[consumer],
        factory.config.evaluation,
        factory.config.upstreams,
    )
    changed = ablations(upstreams)
    if only is not None:
        if unknown := [name for name in only if name not in changed]:
            raise ExperimentError(
                f"T7: no ablation named {unknown[0]!r}; there are: {', '.join(changed)}."
            )
        changed = {name: changed[name] for name in only}
    chosen = {DECLARED: Backtest(spec, ("none", SHUFFLED, "all"))}
    chosen |= {name: Backtest(spec, ("all",), upstreams=others) for name, others in changed.items()}
    backtested = backtest(factory, "T7", consumer, chosen)
    parts = {
        name: part if name == DECLARED else renamed(part, name)
        for name, (_, part) in backtested.items()
    }
    judged = merged(parts)
    scores = {
        DECLARED if variant == "all" else variant: values
        for variant, values in judged.scores.items()
    }
    judged = type(judged)(
        judged.labels_N, judged.users_N, judged.days_N, scores, judged.items_N, judged.times_us_N
    )
    found = lift_table(
        judged,
        span.bootstrap,
        span.confidence,
        BOOTSTRAP_SEED,
        further=[(name, DECLARED) for name in changed],
    )
    lifts = {(row.variant, row.baseline): row for row in found}
    rows = [
        _row(lifts, name, {DECLARED: dict(upstreams), **changed}, 1 - span.confidence)
        for name in judged.scores
    ]
    notes = (
        (
            f"Every ablation trains all upstreams anew over the same {len(factory.days_done())}"
            f" days, and then the ranker that reads their vectors; {rows[0]['seeds']} seeds of the"
            " ranker, one of the upstreams, so the chance in training an upstream is not within"
            " the intervals."
        ),
        (
            "One unified upstream has the settings of the first declared, with the most epochs and"
            " contrastive weight of any."
        ),
    )
    answer = _answer(consumer, rows) + control_note(lifts[SHUFFLED, "none"])
    days = (str(judged.day(0)), str(judged.day(-1)))
    return Table(
        "T7",
        f"what each part of the upstreams is worth, {consumer.upper()} ranker",
        consumer,
        *days,
        answer,
        COLUMNS,
        tuple(rows),
        notes,
        _charts(consumer, rows),
    )


def _row(
    lifts: Mapping[tuple[str, str], Lift],
    name: str,
    upstreams: Mapping[str, Mapping[str, UpstreamConfig]],
    alpha: float,
) -> dict[str, object]:
    row: dict[str, object] = lifts[name, "none"].as_json() | {"upstream": name, "verdict": ""}
    row["rows_needed"] = None
    if name in upstreams:
        row["numbers"] = 2 * sum(sizes_of(spec).width for spec in upstreams[name].values())
    if (name, DECLARED) in lifts:
        over = lifts[name, DECLARED]
        shown = (over.p_holm or 0) < alpha
        row |= {
            "over_declared_pct": over.roc_auc_lift_pct,
            "over_declared_low": over.low,
            "over_declared_high": over.high,
            "p_holm": over.p_holm,
            "rows_needed": over.rows_needed,
        }
        row["verdict"] = (
            "no difference shown"
            if not shown
            else "worse"
            if over.roc_auc_lift_pct < 0
            else "better"
        )
    return row


def _answer(consumer: str, rows: list[dict[str, object]]) -> str:
    worse, better = (
        [str(row["upstream"]) for row in rows if row["verdict"] == verdict]
        for verdict in ("worse", "better")
    )
    declared = next(row for row in rows if row["upstream"] == DECLARED)
    said = (
        f"{consumer.upper()} ranker: the declared upstreams lift it by"
        f" {declared['roc_auc_lift_pct']:+.2f} %."
    )
    said += (
        f" Less is gained with {', with '.join(worse)}."
        if worse
        else " No ablation is shown to gain less."
    )
    return said + (f" More is gained with {', with '.join(better)}." if better else "")


def _charts(consumer: str, rows: list[dict[str, object]]) -> tuple[Chart, ...]:
    shown = [row for row in rows if row["upstream"] != "none"]
    names, parts = (
        tuple(str(row["upstream"]) for row in shown),
        {key: tuple(row[key] for row in shown) for key in ("roc_auc_lift_pct", "low", "high")},
    )
    bars = Series("lift", names, parts["roc_auc_lift_pct"], parts["low"], parts["high"])  # type: ignore[arg-type]
    return (
        Chart(
            f"T7-{consumer}",
            f"T7: upstream ablations, {consumer.upper()} ranker",
            "bars",
            "lift of ROC-AUC, %",
            "",
            (bars,),
            "Against the same ranker without embeddings.",
        ),
    )
