"""T4: how narrow may a consumer make the embeddings before they join, and what does that save."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np

from headwater.backtests.backtest import Backtest, backtest, days_of, judged_by, merged, running
from headwater.backtests.policies import renamed
from headwater.config import SHUFFLED, DownstreamConfig
from headwater.errors import ExperimentError
from headwater.evaluation import Chart, Column, Series, Table, lift_table
from headwater.models.downstream import Cost, VariantTask, costs_of
from headwater.pipeline.run import Run
from headwater.studies import Asked
from headwater.studies.lifts import BOOTSTRAP_SEED, control_note

WIDTHS = (32, 16, 8, 4, 2)
TIMED_ROWS = 8192
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
    Column("over_whole_pct", "over unprojected, %", "+.3f", "over_whole_low", "over_whole_high"),
    Column("p_holm", "p (Holm)", ".2g"),
    Column("core_hours_a_year", "core-hours a year", ",.1f"),
    Column("saved_a_year", "money saved a year", ",.2f"),
)


def projection_study(asked: Asked) -> Table:
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
    day at `core_hour_price` (any currency), against no projection. Raises ExperimentError.
    """
    days = days_of(run, "T4", consumer)
    spec, span = run.workspace.config.downstream[consumer], run.workspace.config.evaluation
    narrow = [width for width in widths if width < min(run.rankers[0].widths.values())]
    specs = {
        WHOLE: _projected(spec, None),
        **{f"to {width}": _projected(spec, width) for width in narrow},
    }
    chosen = {"none": Backtest(spec, ("none", SHUFFLED))} | {
        name: Backtest(changed, ("all",)) for name, changed in specs.items()
    }
    backtested = backtest(run, "T4", consumer, chosen)
    judged = merged(
        {
            name: part if name == "none" else renamed(part, name)
            for name, part in judged_by(backtested)
        }
    )
    found = lift_table(
        judged,
        span.bootstrap,
        span.confidence,
        BOOTSTRAP_SEED,
        further=[(name, WHOLE) for name in specs if name != WHOLE],
    )
    lifts = {(row.variant, row.baseline): row for row in found}
    runs = {name: found.run for name, found in backtested.items()}
    tasks, learnt = _timed(run, consumer, runs)
    costs = costs_of(tasks)
    a_day = rows_a_day or learnt
    hours = {
        name: a_day * spec.epochs / cost.rows_a_second / 3600 * DAYS_A_YEAR
        for name, cost in costs.items()
    }
    rows = []
    for name in judged.scores:
        row = (
            lifts[name, "none"].as_json()
            | {"projection": name}
            | (_cost(costs, hours, name) if name in costs else {})
        )
        if (name, WHOLE) in lifts:
            over = lifts[name, WHOLE]
            row |= {
                "over_whole_pct": over.roc_auc_lift_pct,
                "over_whole_low": over.low,
                "over_whole_high": over.high,
            }
        if core_hour_price is not None and name in specs:
            row["saved_a_year"] = (hours[WHOLE] - hours[name]) * core_hour_price
        rows.append(row)
    answer, judged_days = (
        _answer(consumer, rows) + control_note(lifts[SHUFFLED, "none"]),
        (str(judged.day(0)), str(judged.day(-1))),
    )
    notes, charts = _notes(days[-1], a_day, core_hour_price), _charts(consumer, rows, list(specs))
    return Table(
        "T4",
        f"projection width, {consumer.upper()} ranker",
        consumer,
        *judged_days,
        answer,
        COLUMNS,
        tuple(rows),
        notes,
        charts,
    )


def _projected(spec: DownstreamConfig, width: int | None) -> DownstreamConfig:
    return spec.model_copy(
        update={"projection": spec.projection.model_copy(update={"width": width})}
    )


def _timed(run: Run, consumer: str, made: dict[str, Run]) -> tuple[dict[str, VariantTask], int]:
    """One task for each ranker, on rows of the last day that taught; and how many rows that day
    taught.
    """
    task = run.workspace.schema.tasks[run.workspace.config.downstream[consumer].task]
    done = run.workspace.days_done()
    inputs = run.reader.read(done[-1], done)
    matured = inputs.matured(task)
    rows = None if matured is None else matured.examples
    tasks, learnt = {}, 0
    if rows is None or not len(rows.where_defined((task.name,))):
        raise ExperimentError(
            f"T4: no row of {inputs.day}, the last day run, has taught the consumer {consumer!r};"
            " run one more day."
        )
    for name, of_width in made.items():
        plan = of_width.rankers[0]
        taught = rows.where_defined(tuple(plan.tasks))
        learnt = len(taught)
        some = plan.reads(taught.take(np.arange(min(learnt, TIMED_ROWS))))
        tasks[name] = VariantTask(
            plan,
            inputs.day,
            some,
            run.workspace.served_on(rows.day),
            None,
            of_width.workspace.layout.timed,
            "timed",
        )
    return tasks, learnt


def _cost(costs: dict[str, Cost], hours: dict[str, float], name: str) -> dict[str, float]:
    cost = costs[name]
    return {
        "joined_numbers": cost.joined_numbers,
        "dense_bytes": cost.dense_bytes,
        "rows_a_second": cost.rows_a_second,
        "speed_pct": 100 * (cost.rows_a_second / costs[WHOLE].rows_a_second - 1),
        "core_hours_a_year": hours[name],
    }


def _answer(consumer: str, rows: list[dict[str, Any]]) -> str:
    whole = next(row for row in rows if row["projection"] == WHOLE)
    narrower = [
        row for row in rows if row.get("over_whole_pct") is not None and row["over_whole_high"] >= 0
    ]
    if not any(
        row["low"] is not None and row["low"] > 0 for row in rows if "joined_numbers" in row
    ):
        return (
            f"{consumer.upper()} ranker: through no projection are the embeddings shown to lift, so"
            " there is nothing that one could cost."
        )
    if len(rows) <= 3:
        return (
            f"{consumer.upper()} ranker: the vectors are as narrow as any projection that was asked"
            " for."
        )
    if not narrower:
        return (
            f"{consumer.upper()} ranker: every projection loses against the vectors as they are"
            f" ({whole['roc_auc_lift_pct']:+.2f} %)."
        )
    least = min(narrower, key=lambda row: row["joined_numbers"])
    money = (
        f", {least['saved_a_year']:,.2f} saved a year"
        if least.get("saved_a_year") is not None
        else ""
    )
    return (
        f"{consumer.upper()} ranker: projected {least['projection']} numbers each, the narrowest"
        f" that is not shown to lose, embeddings lift {least['roc_auc_lift_pct']:+.2f} % instead of"
        f" {whole['roc_auc_lift_pct']:+.2f} %, and training is {least['speed_pct']:+.1f} %"
        f" faster{money}."
    )


def _notes(day: dt.date, a_day: float, price: float | None) -> tuple[str, ...]:
    money = (
        "Give --core-hour-price to see what that saves."
        if price is None
        else f"Money at {price} a core-hour."
    )
    return (
        (
            f"Speed: one core, {TIMED_ROWS:,} rows of {day}, the rankers timed in turn, medians;"
            f" core-hours are those of learning {a_day:,.0f} rows a day. {money}"
        ),
        "The store keeps and serves the vectors whole: a projection belongs to its consumer.",
    )


def _charts(consumer: str, rows: list[dict[str, Any]], names: list[str]) -> tuple[Chart, ...]:
    shown = [row for row in rows if row["projection"] in names]
    parts = {
        key: tuple(row[key] for row in shown)
        for key in ("roc_auc_lift_pct", "low", "high", "rows_a_second")
    }
    lifts = Series("lift", tuple(names), parts["roc_auc_lift_pct"], parts["low"], parts["high"])
    speed = Series("rows/s", tuple(names), parts["rows_a_second"])
    return (
        Chart(
            f"T4-{consumer}",
            f"T4: projection width, {consumer.upper()} ranker",
            "bars",
            "lift of ROC-AUC, %",
            "",
            (lifts,),
        ),
        Chart(
            f"T4-{consumer}-speed",
            f"T4: training speed, {consumer.upper()} ranker",
            "bars",
            "rows a second, one core",
            "",
            (speed,),
        ),
    )
