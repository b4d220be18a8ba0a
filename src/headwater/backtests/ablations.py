"""T7: what each part of an upstream model is worth, measured by what a ranker gains from its
vectors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from headwater.backtests.backtest import (
    Backtest,
    Backtested,
    backtest,
    days_of,
    merged,
    renamed,
    running,
)
from headwater.backtests.changed_upstreams import Upstreams, ablations
from headwater.backtests.upstream_seeds import joined, replicate
from headwater.config import SHUFFLED, FactoryConfig
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Judged, Lift, Table
from headwater.evaluation.verdict import corrected_tone
from headwater.models.upstream import widths_of
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
    lift_series,
    training_caveat,
    within_note,
)

DECLARED = "as declared"
NO_VERDICT = "none from one upstream seed"
COLUMNS = (
    Column("upstream", "upstream models"),
    Column("numbers", "numbers a pair", ",d"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "lift % (interval)", "+.2f", "low", "high"),
    *WITHIN,
    *change_columns("over_declared", "against as declared"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("rows_needed", "rows needed", ".2g"),
    Column("upstream_seeds", "upstream seeds", "d"),
    Column("verdict", "verdict", "s"),
)
WORDS = {
    "good": "better",
    "bad": "worse",
    "flat": "no difference shown",
    "mixed": "mixed",
}


@dataclass(frozen=True)
class _Found:
    """The rankers of the declared upstreams and of each ablation of them, judged on the same rows.

    `numbers` are those of a pair's vectors, by the upstreams that made them; those that are
    `seeded` were trained under `seeds` seeds, the others under one.
    """

    judged: Judged
    lifts: Lifts
    numbers: Mapping[str, int]
    days: int
    alpha: float
    seeds: int
    seeded: tuple[str, ...]

    def over_declared(self, name: str) -> Lift | None:
        return self.lifts.find(name, DECLARED)

    def verdict(self, name: str) -> str:
        """Empty where there is nothing to compare with what is declared."""
        over = self.over_declared(name)
        if over is None:
            return ""
        if name not in self.seeded:
            return NO_VERDICT
        return WORDS[corrected_tone(over, self.alpha)]


def ablation_study(asked: Asked) -> Table:
    """T7: what each part of the upstreams is worth."""
    with running(asked) as run:
        return ablation_table(
            run, asked.consumer, seeds=asked.upstream_seeds or 1, seeded=asked.seeded
        )


def ablation_table(
    run: Run,
    consumer: str = "ctr",
    only: tuple[str, ...] | None = None,
    seeds: int = 1,
    seeded: tuple[str, ...] = (),
) -> Table:
    """The lift of the ranker that reads all embeddings, for the declared upstreams and for each
    ablation of them (`only` some, by name), trained anew day by day.

    What is declared and the ablations `seeded` (all, where none is named) are trained under `seeds`
    seeds of the upstreams; of one seed no verdict is given. Raises ExperimentError where there is
    no such consumer, ablation or day.
    """
    found = _gather(run, consumer, only, seeds, seeded)
    return Table(
        name="T7",
        title=f"what each part of the upstreams is worth, {consumer.upper()} ranker",
        consumer=consumer,
        first_day=str(found.judged.day(0)),
        last_day=str(found.judged.day(-1)),
        answer=_answer(consumer, found),
        columns=COLUMNS,
        rows=tuple(_row(found, name) for name in found.judged.scores),
        notes=_notes(found),
        charts=_charts(consumer, found),
    )


def _gather(
    run: Run, consumer: str, only: tuple[str, ...] | None, seeds: int, seeded: tuple[str, ...]
) -> _Found:
    days = days_of(run, "T7", consumer)
    config = run.workspace.config
    changed = _chosen(ablations(config.upstreams), only)
    several = tuple(_chosen(changed, seeded or None)) if seeds > 1 else ()
    backtested = backtest(
        run, "T7", consumer, _backtests(config, consumer, changed, several, seeds)
    )
    replicates = [_judged(backtested, (DECLARED, *several), number) for number in range(seeds)]
    alone = tuple(name for name in changed if name not in several)
    once = _judged(backtested, (DECLARED, *alone), 0)
    # what was trained under several seeds is compared over them all, the rest on the first
    lifts = _lifts(config, once, alone).with_others(_lifts(config, joined(replicates), several))
    return _Found(
        judged=merged([once, replicates[0]]),
        lifts=lifts,
        numbers={
            name: sum(widths_of(backtested[name].run.plans).values())
            for name in (DECLARED, *changed)
        },
        days=len(days),
        alpha=1 - config.evaluation.confidence,
        seeds=seeds,
        seeded=several,
    )


def _backtests(
    config: FactoryConfig,
    consumer: str,
    changed: Mapping[str, Upstreams],
    several: Collection[str],
    seeds: int,
) -> dict[str, Backtest]:
    """All that is to be run, by name: what is declared, and each ablation; what was trained under
    several seeds once for each of them.
    """
    spec = config.downstream[consumer]
    once = {DECLARED: Backtest(spec, ("none", SHUFFLED, "all"))}
    for name, upstreams in changed.items():
        once[name] = Backtest(spec, ("all",), upstreams=upstreams)
    again = {
        _named(name, number): replicate(config, once[name], number)
        for number in range(1, seeds)
        for name in (DECLARED, *several)
    }
    return once | again


def _named(name: str, number: int) -> str:
    """A backtest under one seed of the upstreams."""
    return f"{name}, upstream seed {number + 1}" if number else name


def _judged(backtested: Mapping[str, Backtested], names: Iterable[str], number: int) -> Judged:
    """What these were judged on under one seed of the upstreams."""
    parts = {name: backtested[_named(name, number)].judged for name in names}
    return merged(
        _declared(part) if name == DECLARED else renamed(part, name) for name, part in parts.items()
    )


def _lifts(config: FactoryConfig, judged: Judged, names: Iterable[str]) -> Lifts:
    further = [*((name, DECLARED) for name in names), *control_pairs(judged.scores, [DECLARED])]
    return Lifts.of(judged, config.evaluation, further)


def _chosen(
    changed: Mapping[str, Upstreams], only: tuple[str, ...] | None
) -> Mapping[str, Upstreams]:
    if only is None:
        return changed
    unknown = [name for name in only if name not in changed]
    if unknown:
        raise ExperimentError(
            f"T7: no ablation named {unknown[0]!r}; there are: {', '.join(changed)}."
        )
    return {name: changed[name] for name in only}


def _declared(judged: Judged) -> Judged:
    """What the declared upstreams were judged on, named after them."""
    scores = {
        DECLARED if variant == "all" else variant: values
        for variant, values in judged.scores.items()
    }
    return replace(judged, scores=scores)


# ---- what the table says -------------------------------------------------------------------------


def _row(found: _Found, name: str) -> Row:
    row = found.lifts.get(name).as_json()
    row |= {"upstream": name, "verdict": found.verdict(name), "rows_needed": None}
    if name in found.numbers:
        row["numbers"] = found.numbers[name]
    over = found.over_declared(name)
    if over is not None:
        row |= change_cells("over_declared", over)
        row |= {"p_holm": over.p_holm, "rows_needed": over.rows_needed}
    if over is not None and name not in found.seeded:
        row["p_holm"] = None
    return row


def _answer(consumer: str, found: _Found) -> str:
    verdicts = {name: found.verdict(name) for name in found.judged.scores}
    worse = [name for name, verdict in verdicts.items() if verdict == "worse"]
    better = [name for name, verdict in verdicts.items() if verdict == "better"]
    declared = found.lifts.get(DECLARED)
    said = (
        f"{consumer.upper()} ranker: the declared upstreams lift it by"
        f" {declared.roc_auc_lift_pct:+.2f} % ({declared.low:.2f} to {declared.high:.2f};"
        f" {beside(declared)})."
    )
    if worse:
        said += f" Less is gained with {', with '.join(worse)}."
    elif not found.seeded:
        said += " From one seed of the upstreams no verdict is given; ask with --upstream-seeds."
    else:
        said += " Of what was trained under several seeds, none is shown to gain less."
    if better:
        said += f" More is gained with {', with '.join(better)}."
    return said + control_note(found.lifts, DECLARED) + training_caveat(found.lifts)


def _notes(found: _Found) -> tuple[str, ...]:
    of_one = f"trained under one seed of the upstreams get no verdict: {NO_VERDICT!r}"
    if found.seeded:
        several = (
            f"As declared, and {', '.join(found.seeded)}: {found.seeds} seeds of the upstreams"
        )
        seeds = f"{several}, each with rankers of its own seeds. Ablations {of_one}."
    else:
        seeds = f"Ablations {of_one}."
    return (
        (
            f"Every ablation trains all upstreams anew over the same {found.days} days, and then"
            f" the ranker that reads their vectors. {seeds}"
        ),
        interval_note(found.lifts),
        within_note(found.judged),
        (
            "One unified upstream has the settings of the first declared, with the most epochs and"
            " contrastive weight of any."
        ),
    )


def _charts(consumer: str, found: _Found) -> tuple[Chart, ...]:
    lifts = found.lifts.against("none")
    shown = [name for name in lifts if name != "none"]
    chart = Chart(
        f"T7-{consumer}",
        f"T7: upstream ablations, {consumer.upper()} ranker",
        "bars",
        "lift of ROC-AUC, %",
        "",
        (lift_series("lift", shown, [lifts[name] for name in shown]),),
        "Against the same ranker without embeddings.",
    )
    return (chart,)
