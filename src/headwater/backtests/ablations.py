"""T7: what each part of an upstream model is worth, measured by what a ranker gains from its
vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from headwater.backtests.backtest import Backtest, backtest, days_of, judged_by, merged, running
from headwater.backtests.policies import renamed
from headwater.config import SHUFFLED, AnyUpstreamConfig, DhenConfig, UpstreamConfig
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Lift, Series, Table, lift_table
from headwater.models.upstream import widths_of
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.lifts import BOOTSTRAP_SEED, control_note

DECLARED = "as declared"
Upstreams = Mapping[str, AnyUpstreamConfig]
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


def ablations(upstreams: Upstreams) -> dict[str, Upstreams]:
    """The declared upstreams with one thing other in each that is a DERM model, by what that is;
    those of other kinds stay as they are.
    """
    models = {name: spec for name, spec in upstreams.items() if isinstance(spec, UpstreamConfig)}
    if not models:
        return {}

    def each(change: Callable[[UpstreamConfig], dict[str, object]]) -> Upstreams:
        changed = {name: spec.model_copy(update=change(spec)) for name, spec in models.items()}
        return {**upstreams, **changed}

    first = next(iter(models.values()))
    contrastive = any(spec.contrastive_weight for spec in models.values())
    loss = "no contrastive loss" if contrastive else "with the contrastive loss"
    weight = 0.0 if contrastive else 0.1
    found = {loss: each(lambda _: {"contrastive_weight": weight})}
    over = "no overtower" if first.overtower else "with an overtower"
    found[over] = each(lambda _: {"overtower": not first.overtower})
    for block in ONE_BLOCK:
        found[f"DHEN of {block} only"] = each(partial(_of_one_block, block))
    ids = "no ids (content only)" if first.ids else "with ids"
    found[ids] = each(lambda _: {"ids": not first.ids})
    if len(models) > 1 and len(models) == len(upstreams):
        found["one unified upstream"] = {"unified": _unified(models)}
    return {name: changed for name, changed in found.items() if changed != dict(upstreams)}


def _of_one_block(block: str, spec: UpstreamConfig) -> dict[str, object]:
    layers = ((block,),) * len(spec.dhen.layers)
    return {"dhen": DhenConfig(**spec.dhen.model_dump() | {"layers": layers})}


def _unified(models: Mapping[str, UpstreamConfig]) -> UpstreamConfig:
    """One model of all tasks, with the settings of the first, and the most epochs and contrastive
    weight of any.
    """
    specs = list(models.values())
    return specs[0].model_copy(
        update={
            "tasks": tuple(dict.fromkeys(task for spec in specs for task in spec.tasks)),
            "content_vectors": tuple(
                dict.fromkeys(entity for spec in specs for entity in spec.content_vectors)
            ),
            "epochs": max(spec.epochs for spec in specs),
            "contrastive_weight": max(spec.contrastive_weight for spec in specs),
            "whole_space": (),
        }
    )


def ablation_study(asked: Asked) -> Table:
    with running(asked) as run:
        return ablation_table(run, asked.consumer)


def ablation_table(run: Run, consumer: str = "ctr", only: tuple[str, ...] | None = None) -> Table:
    """The lift of the ranker that reads all embeddings, for the declared upstreams and for each
    ablation of them, trained anew day by day.

    `only`: some of the ablations, by name. Raises ExperimentError.
    """
    days = days_of(run, "T7", consumer)
    spec, span, upstreams = (
        run.workspace.config.downstream[consumer],
        run.workspace.config.evaluation,
        run.workspace.config.upstreams,
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
    backtested = backtest(run, "T7", consumer, chosen)
    parts = {
        name: part if name == DECLARED else renamed(part, name)
        for name, part in judged_by(backtested)
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
    numbers = {name: sum(widths_of(found.run.plans).values()) for name, found in backtested.items()}
    rows = [_row(lifts, name, numbers, 1 - span.confidence) for name in judged.scores]
    notes = (
        (
            f"Every ablation trains all upstreams anew over the same {len(days)}"
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
    judged_days = (str(judged.day(0)), str(judged.day(-1)))
    return Table(
        "T7",
        f"what each part of the upstreams is worth, {consumer.upper()} ranker",
        consumer,
        *judged_days,
        answer,
        COLUMNS,
        tuple(rows),
        notes,
        _charts(consumer, rows),
    )


def _row(
    lifts: Mapping[tuple[str, str], Lift],
    name: str,
    numbers: Mapping[str, int],
    alpha: float,
) -> dict[str, object]:
    row: dict[str, object] = lifts[name, "none"].as_json() | {"upstream": name, "verdict": ""}
    row["rows_needed"] = None
    if name in numbers:
        row["numbers"] = numbers[name]
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
