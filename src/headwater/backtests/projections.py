"""T4: how narrow may a consumer make the embeddings before they join, and what does that save."""

from __future__ import annotations

import datetime as dt
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
from headwater.backtests.timing import TIMED_ROWS, last_taught, timed_tasks
from headwater.config import SHUFFLED, DownstreamConfig
from headwater.evaluation import Chart, Column, Judged, Lift, Series, Table
from headwater.evaluation.verdict import is_no_worse, last_no_worse, shown
from headwater.files import exclusive
from headwater.models.downstream import Cost, costs_of
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

WIDTHS = (32, 16, 8, 4, 2)
DAYS_A_YEAR = 365
WHOLE = "as they are"
COLUMNS = (
    Column("projection", "projection"),
    Column("joined_numbers", "numbers joined", ",d"),
    Column("dense_bytes", "dense weights, bytes", ",d"),
    Column("rows_a_second", "rows/s a core", ",.0f"),
    Column("speed_pct", "speed %", "+.1f"),
    Column("roc_auc", "ROC-AUC", ".4f"),
    Column("roc_auc_lift_pct", "ROC-AUC lift %", "+.2f", "low", "high"),
    *WITHIN,
    *change_columns("over_whole", "over unprojected", "+.3f"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("verdict", "verdict", "s"),
    Column("core_hours_a_year", "core-hours a year", ",.1f"),
    Column("saved_a_year", "money saved a year", ",.2f"),
)


@dataclass(frozen=True)
class _Prices:
    """What turns speed into core-hours and money: passes over `rows_a_day`, once a day."""

    core_hour_price: float | None
    rows_a_day: float
    epochs: int

    def core_hours_a_year(self, cost: Cost) -> float:
        return self.rows_a_day * self.epochs / cost.rows_a_second / 3600 * DAYS_A_YEAR


@dataclass(frozen=True)
class _Found:
    """`costs` are of every ranker that was timed; `projections` are those that read embeddings, the
    whole ones first. `margin_pct` is the loss that is none.
    """

    judged: Judged
    lifts: Lifts
    costs: Mapping[str, Cost]
    projections: tuple[str, ...]
    prices: _Prices
    last_day: dt.date
    margin_pct: float

    def over_whole(self, name: str) -> Lift | None:
        return self.lifts.find(name, WHOLE)

    def verdict(self, name: str) -> str:
        over = self.over_whole(name)
        if over is None:
            return ""
        if is_no_worse(over, self.margin_pct):
            return "no worse, within the margin"
        if shown(over) == "bad":
            return "worse"
        return "not shown to be no worse"

    def hours(self, name: str) -> float:
        return self.prices.core_hours_a_year(self.costs[name])

    def saved_a_year(self, name: str) -> float | None:
        """Against the vectors as they are, in the money of the price; None without one."""
        price = self.prices.core_hour_price
        return None if price is None else (self.hours(WHOLE) - self.hours(name)) * price

    def speed_pct(self, name: str) -> float:
        """Against the vectors as they are."""
        return 100 * (self.costs[name].rows_a_second / self.costs[WHOLE].rows_a_second - 1)


def projection_study(asked: Asked) -> Table:
    """T4: how narrow embeddings may be, and what that saves."""
    with running(asked) as run:
        return projection_table(run, asked.consumer, asked.core_hour_price, asked.rows_a_day)


def projection_table(
    run: Run,
    consumer: str = "ctr",
    core_hour_price: float | None = None,
    rows_a_day: float | None = None,
    widths: tuple[int, ...] = WIDTHS,
) -> Table:
    """The lift of a ranker that reads all embeddings through a linear map to each of `widths`
    numbers, or through none.

    The money is that of learning `rows_a_day` (default: what the factory's last day taught) once a
    day at `core_hour_price` (any currency), against no projection. Raises ExperimentError where
    there is no such consumer or no day, or where the last day taught nothing.
    """
    found = _gather(run, consumer, widths, core_hour_price, rows_a_day)
    return Table(
        name="T4",
        title=f"projection width, {consumer.upper()} ranker",
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
    run: Run,
    consumer: str,
    widths: tuple[int, ...],
    core_hour_price: float | None,
    rows_a_day: float | None,
) -> _Found:
    last_day = days_of(run, "T4", consumer)[-1]
    spec = run.workspace.config.downstream[consumer]
    narrow = [width for width in widths if width < min(run.rankers[0].widths.values())]
    specs = {WHOLE: _projected(spec, None)}
    specs |= {f"to {width}": _projected(spec, width) for width in narrow}
    chosen = {"none": Backtest(spec, ("none", SHUFFLED))}
    chosen |= {name: Backtest(projected, ("all",)) for name, projected in specs.items()}
    backtested = backtest(run, "T4", consumer, chosen)
    judged = merged(
        one.judged if name == "none" else renamed(one.judged, name)
        for name, one in backtested.items()
    )
    further = [
        *((name, WHOLE) for name in specs if name != WHOLE),
        *control_pairs(judged.scores, [WHOLE]),
    ]
    lifts = Lifts.of(judged, run.workspace.config.evaluation, further)
    with exclusive(run.workspace.layout.root):  # reading a day adds to the lake
        taught = last_taught(run, consumer)
    return _Found(
        judged=judged,
        lifts=lifts,
        costs=costs_of(timed_tasks(run, backtested, taught)),
        projections=tuple(specs),
        prices=_Prices(core_hour_price, rows_a_day or len(taught), spec.epochs),
        last_day=last_day,
        margin_pct=run.workspace.config.evaluation.margin_pct,
    )


def _projected(spec: DownstreamConfig, width: int | None) -> DownstreamConfig:
    projection = spec.projection.model_copy(update={"width": width})
    return spec.model_copy(update={"projection": projection})


# ---- what the table says -------------------------------------------------------------------------


def _row(found: _Found, name: str) -> Row:
    row = found.lifts.get(name).as_json() | {"projection": name}
    cost = found.costs.get(name)
    if cost is not None:
        row |= {
            "joined_numbers": cost.joined_numbers,
            "dense_bytes": cost.dense_bytes,
            "rows_a_second": cost.rows_a_second,
            "speed_pct": found.speed_pct(name),
            "core_hours_a_year": found.hours(name),
        }
    over = found.over_whole(name)
    if over is not None:
        row |= change_cells("over_whole", over) | {"verdict": found.verdict(name)}
    if found.prices.core_hour_price is not None and name in found.projections:
        row["saved_a_year"] = found.saved_a_year(name)
    return row


def _answer(consumer: str, found: _Found) -> str:
    control = control_note(found.lifts, WHOLE)
    return f"{consumer.upper()} ranker: {_narrowest(found)}.{control}{training_caveat(found.lifts)}"


def _narrowest(found: _Found) -> str:
    """The narrowest projection that is shown to be no worse than the vectors as they are."""
    if not any(shown(found.lifts.get(name)) == "good" for name in found.projections):
        return (
            "through no projection are the embeddings shown to lift, so there is nothing that one"
            " could cost"
        )
    if found.lifts.tone(WHOLE) == "doubt":
        return (
            "the embeddings are not shown to gain over their shuffled control, so there is nothing"
            " that a projection could cost"
        )
    if len(found.projections) == 1:
        return "the vectors are as narrow as any projection that was asked for"
    whole, margin = found.lifts.get(WHOLE), f"{found.margin_pct:g} % of ROC-AUC"
    narrower = sorted(
        (name for name in found.projections if name != WHOLE),
        key=lambda name: -found.costs[name].joined_numbers,
    )
    overs = [over for name in narrower if (over := found.over_whole(name)) is not None]
    kept = last_no_worse(overs, found.margin_pct)
    if kept is None:
        return (
            f"no projection is shown to lose less than {margin} against the vectors as they are"
            f" ({whole.roc_auc_lift_pct:+.2f} %): keep these, or judge more rows and seeds"
        )
    least = kept.variant
    saved = found.saved_a_year(least)
    money = "" if saved is None else f", {saved:,.2f} saved a year"
    return (
        f"projected {least} numbers each, the narrowest that is shown to lose less than {margin},"
        f" embeddings lift {found.lifts.get(least).roc_auc_lift_pct:+.2f} % instead of"
        f" {whole.roc_auc_lift_pct:+.2f} % ({beside(whole)}), and training is"
        f" {found.speed_pct(least):+.1f} % faster{money}"
    )


def _notes(found: _Found) -> tuple[str, ...]:
    price = found.prices.core_hour_price
    money = f"Money at {price} a core-hour."
    if price is None:
        money = "Give --core-hour-price to see what that saves."
    return (
        (
            f"Speed: one core, {TIMED_ROWS:,} rows of {found.last_day}, the rankers timed in turn,"
            f" medians; core-hours are those of learning {found.prices.rows_a_day:,.0f} rows a day."
            f" {money}"
        ),
        (
            f"No worse: the lower end of the interval over the vectors as they are lies above"
            f" -{found.margin_pct:g} % (`evaluation.margin_pct`)."
        ),
        interval_note(found.lifts),
        within_note(found.judged),
        "The store keeps and serves the vectors whole: a projection belongs to its consumer.",
    )


def _charts(consumer: str, found: _Found) -> tuple[Chart, ...]:
    names = found.projections
    speeds = tuple(found.costs[name].rows_a_second for name in names)
    return (
        Chart(
            f"T4-{consumer}",
            f"T4: projection width, {consumer.upper()} ranker",
            "bars",
            "lift of ROC-AUC, %",
            "",
            (lift_series("lift", names, [found.lifts.get(name) for name in names]),),
        ),
        Chart(
            f"T4-{consumer}-speed",
            f"T4: training speed, {consumer.upper()} ranker",
            "bars",
            "rows a second, one core",
            "",
            (Series("rows/s", names, speeds),),
        ),
    )
