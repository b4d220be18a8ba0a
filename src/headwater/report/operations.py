"""How the factory runs, from its days' reports: quality, coverage, movement, gates, editions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.config import SHUFFLED
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.report.item_map import map_table
from headwater.schema import Schema
from headwater.serving.reader import Reader
from headwater.store.reports import DayReport, Quality

DRAWN_VARIANTS = ("none", "all", SHUFFLED)
FACTORY = "factory"  # stands where a table names its consumer
# Figures of the gates and monitors that are drawn day by day: title, unit, note.
MONITORS = {
    "cosine_median": (
        "Day-over-day cosine",
        "median cosine",
        "Of an entity's published vector with yesterday's, over entities seen again.",
    ),
    "domain AUC": (
        "Domain AUC",
        "ROC-AUC",
        "Can a classifier tell today's vectors from yesterday's? At 0.5 it cannot.",
    ),
    "neighbour overlap": (
        "Neighbours kept",
        "share",
        "Share of nearest neighbours kept since yesterday.",
    ),
    "effective rank": ("Effective rank", "directions", "Directions in use."),
    "age_mean_days": ("Age of vectors", "days", "Mean days since an entity was last seen."),
}


def operations(days: Sequence[DayReport], reader: Reader, schema: Schema) -> list[Table]:
    """The tables of operations; `days` are the reports of the days, oldest first."""
    return [days_table(days), gates_table(days[-1]), map_table(reader, schema, FACTORY)]


# ---- day by day ------------------------------------------------------------------------------


def days_table(days: Sequence[DayReport]) -> Table:
    """A row per day, newest first, with all its figures; the charts run from the oldest."""
    names = list(days[-1].snapshots)
    rows = [_day_row(day, names) for day in days]
    columns = [
        Column("day", "day"),
        Column("rows", "rows", ","),
        Column("edition_short", "edition"),
        Column("rejected", "rejected rows"),
    ]
    if any(row["by_force"] for row in rows):
        columns.append(Column("by_force", "published by force, over"))
    return Table(
        name="days",
        title="Day by day",
        consumer=FACTORY,
        first_day=str(days[0].day),
        last_day=str(days[-1].day),
        answer=f"{len(days)} days were run.{_served(days[-1])}",
        columns=tuple(columns),
        rows=tuple(reversed(rows)),
        charts=(*_quality(days), _coverage(days, names), *_monitors(days, names)),
    )


def _day_row(day: DayReport, names: Sequence[str]) -> Mapping[str, Any]:
    """All figures of a day; `names` are the embeddings."""
    return {
        "day": str(day.day),
        "rows": sum(day.rows.values()),
        "rejected": _rejected(day.rejected),
        "by_force": "; ".join(day.forced),
        "edition": day.edition,
        "edition_short": day.edition[:12],
        "coverage": dict(day.coverage),
        "quality": {
            consumer: {"day": str(judged.day), **judged.roc_auc}
            for consumer, judged in day.quality.items()
        },
        "group_quality": {
            consumer: {"group": judged.group, **judged.group_auc}
            for consumer, judged in day.quality.items()
        },
        "monitors": {
            check: {name: _figure(day, name, check) for name in names} for check in MONITORS
        },
    }


def _rejected(by_log: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{log}: {n:,} x {reason}"
        for log, reasons in by_log.items()
        for reason, n in reasons.items()
    )


def _served(day: DayReport) -> str:
    """A sentence about the coverage of the last day; empty where none is known."""
    coverage = list(day.coverage.values())
    if not coverage:
        return ""
    return (
        f" On the last, {100 * min(coverage):.1f} % or more of the rows"
        " had a served vector of each kind."
    )


def _figure(day: DayReport, name: str, check: str) -> float | None:
    """A gate's figure of an embedding, or else another figure of its snapshot."""
    snapshot = day.snapshots.get(name)
    if snapshot is None:
        return None
    for gate in snapshot.gates:
        if gate.check == check:
            return gate.figure
    figure: float | None = getattr(snapshot, check, None)
    return figure


def _quality(days: Sequence[DayReport]) -> list[Chart]:
    """Two charts per consumer, by variant: ROC-AUC of each judged day, and that within groups."""
    consumers = dict.fromkeys(name for day in days for name in day.quality)
    charts = []
    for consumer in consumers:
        ranker = f"{consumer.upper()} ranker"
        note = "On each day's traffic, by the models of the evening before; mean over seeds."
        series = _quality_series(days, consumer, lambda judged: judged.roc_auc)
        if series:
            title = f"{ranker}, day by day"
            charts.append(_quality_chart(f"day-quality-{consumer}", title, series, note))
        within = _quality_series(days, consumer, lambda judged: judged.group_auc)
        if within:
            group = next(day for day in reversed(days) if consumer in day.quality)
            words = group.quality[consumer].group
            title = f"{ranker} within {words}, day by day"
            note = f"{note} Mean over the groups of both classes, weighted by rows."
            charts.append(_quality_chart(f"day-group-quality-{consumer}", title, within, note))
    return charts


def _quality_chart(name: str, title: str, series: tuple[Series, ...], note: str) -> Chart:
    return Chart(name, title, "lines", "day", "ROC-AUC", series, note)


def _quality_series(
    days: Sequence[DayReport],
    consumer: str,
    metric: Callable[[Quality], Mapping[str, float | None]],
) -> tuple[Series, ...]:
    """A metric by judged day, a line per variant that is drawn."""
    by_variant: dict[str, dict[str, float]] = {}
    for judged in (day.quality[consumer] for day in days if consumer in day.quality):
        for variant, value in metric(judged).items():
            if variant in DRAWN_VARIANTS and value is not None:
                by_variant.setdefault(variant, {})[str(judged.day)] = value
    line = _line_of(days)
    return tuple(
        Series(variant, line, tuple(found.get(str(day)) for day in line))
        for variant, found in by_variant.items()
    )


def _coverage(days: Sequence[DayReport], names: Sequence[str]) -> Chart:
    line = _line_of(days)
    shares = {name: [day.coverage.get(name) for day in days] for name in names}
    return Chart(
        name="day-coverage",
        title="Coverage",
        kind="lines",
        x_title="day",
        y_title="% of rows",
        series=tuple(
            Series(name, line, tuple(None if share is None else 100 * share for share in by_day))
            for name, by_day in shares.items()
        ),
        note="Share of the day's rows whose entity had a served vector.",
    )


def _monitors(days: Sequence[DayReport], names: Sequence[str]) -> list[Chart]:
    """A chart per figure of the gates and monitors, a line per embedding."""
    line = _line_of(days)
    return [
        Chart(
            name=f"day-{check.replace(' ', '-').replace('_', '-').lower()}",
            title=title,
            kind="lines",
            x_title="day",
            y_title=unit,
            series=tuple(
                Series(name, line, tuple(_figure(day, name, check) for day in days))
                for name in names
            ),
            note=note,
        )
        for check, (title, unit, note) in MONITORS.items()
    ]


def _line_of(days: Sequence[DayReport]) -> tuple[str, ...]:
    """The days, along the axis of a chart."""
    return tuple(str(day.day) for day in days)


# ---- the gates -------------------------------------------------------------------------------


def gates_table(day: DayReport) -> Table:
    """What every snapshot was asked before it was published, and what it answered."""
    rows: dict[str, dict[str, Any]] = {}
    failed = []
    asked = 0
    for name, snapshot in day.snapshots.items():
        for gate in snapshot.gates:
            row = rows.setdefault(gate.check, {"check": gate.check, "gates": {}})
            row["gates"][name] = {
                key: getattr(gate, key) for key in ("figure", "threshold", "passed", "reason")
            }
            row[f"{name}_shown"] = _shown(gate.figure) + ("" if gate.passed else " refused")
            asked += 1
            if not gate.passed:
                failed.append(f"{name}, {gate.check}: {gate.reason}.")
    for row in rows.values():
        row["threshold_shown"] = _thresholds(row["gates"])
    answer = f"{len(failed)} of {asked} checks failed." if failed else f"All {asked} checks passed."
    if day.forced:
        answer += f" The day was published by force, over: {'; '.join(day.forced)}."
    return Table(
        name="gates",
        title="Gates of the last day",
        consumer=FACTORY,
        first_day=str(day.day),
        last_day=str(day.day),
        answer=answer,
        columns=(
            Column("check", "check"),
            *(Column(f"{name}_shown", name) for name in day.snapshots),
            Column("threshold_shown", "threshold"),
        ),
        rows=tuple(rows.values()),
        notes=tuple(failed),
    )


def _thresholds(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """The threshold of a check; where it differs by snapshot, the least and the greatest."""
    bounds = sorted(
        gate["threshold"]
        for gate in gates.values()
        if gate["figure"] is not None and gate["threshold"] is not None
    )
    ends = (*bounds[:1], *bounds[-1:])
    return " to ".join(dict.fromkeys(_shown(bound) for bound in ends))


def _shown(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.4g}"
