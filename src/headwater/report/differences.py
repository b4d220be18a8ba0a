"""Tables of two factories: figure by figure, with their differences; and their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from headwater.evaluation.compare import Difference, Points
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.report.contests import Contest, Sides
from headwater.report.headline import gains_of
from headwater.report.page import flat

# the lifts of which the difference has an interval
PAIRED: Mapping[str, Callable[[Difference], Difference | Points]] = {
    "roc_auc_lift_pct": lambda found: found,
    "daily_lift_pct": lambda found: found.daily,
    "group_lift_pct": lambda found: found.group,
}
NO_DIFFERENCE = ("p_value", "p_holm", "rows_needed")  # figures of which it would say nothing


def compared(sides: Sides, slug: str, contest: Contest | None) -> Table:
    """A table of both factories: a line per row and figure, with A, B and the difference B - A.

    `contest` is the ranker that the table is about, where it is about one.
    """
    table, other = (side.tables[slug] for side in sides)
    named = tuple(column for column in table.columns if not column.spec) or table.columns[:1]
    figures = [column for column in table.columns if column not in named]
    by_identity = [
        {tuple(column.show(row) for column in named): row for row in one.rows}
        for one in (table, other)
    ]
    rows = []
    for identity in dict.fromkeys(key for one in by_identity for key in one):
        pair = [one.get(identity, {}) for one in by_identity]
        paired = _paired(pair, contest)
        lines = [_line(column, pair, paired) for column in figures]
        names = {column.key: value for column, value in zip(named, identity, strict=True)}
        rows += [{**names, **line} for line in lines if line["a"] or line["b"]]
    return Table(
        table.name,
        table.title,
        table.consumer,
        table.first_day,
        table.last_day,
        answer="",
        columns=(
            *named,
            Column("figure", "figure"),
            Column("a", sides[0].name),
            Column("b", sides[1].name),
            Column("b_less_a", "B \N{MINUS SIGN} A"),
        ),
        rows=tuple(rows),
        notes=() if contest is None else (_rows_note(contest),),
        charts=(_side_by_side(sides, contest),) if contest and gains_of(table) else (),
    )


def _paired(pair: Sequence[Mapping[str, Any]], contest: Contest | None) -> Difference | None:
    """The paired difference of a row of lifts, where it is against the model without embeddings."""
    baseline = pair[0].get("baseline", pair[1].get("baseline"))
    if contest is None or baseline != "none":
        return None
    return contest.differences.get(str(pair[0].get("variant")))


def _line(
    column: Column, pair: Sequence[Mapping[str, Any]], paired: Difference | None
) -> Mapping[str, str]:
    """One figure of both factories, as people read it."""
    return {
        "key": column.key,
        "figure": column.title,
        "a": column.show(pair[0]),
        "b": column.show(pair[1]),
        "b_less_a": _difference(column, pair, paired),
    }


def _difference(
    column: Column, pair: Sequence[Mapping[str, Any]], paired: Difference | None
) -> str:
    if paired is not None and column.key in PAIRED:
        found = PAIRED[column.key](paired)
        if isnan(found.points):
            return ""
        return f"{found.points:+.2f} ({found.low:+.2f}, {found.high:+.2f})"
    a, b = (row.get(column.key) for row in pair)
    if column.key in NO_DIFFERENCE:
        return ""
    if not isinstance(a, int | float) or not isinstance(b, int | float):
        return ""
    return Column("d", "", "+" + column.spec.lstrip("+")).show({"d": b - a})


def _rows_note(contest: Contest) -> str:
    if contest.same:
        return (
            "Both judged exactly the same rows:"
            " the interval of a lift's difference is paired, over users, items and seeds."
        )
    a, b = (
        f"{table.first_day} to {table.last_day}, {table.rows[0]['n']:,} rows"
        for table in contest.tables
    )
    return (
        f"They judged other rows (A {a}; B {b}), so they are not comparable row by row:"
        " differences have no interval."
    )


def _side_by_side(sides: Sides, contest: Contest) -> Chart:
    """The lifts of both factories, variant by variant."""
    series = []
    for side, table in zip(sides, contest.tables, strict=True):
        gains = gains_of(table)
        series.append(
            Series(
                side.name,
                tuple(gains),
                values=tuple(gain.lift_pct for gain in gains.values()),
                low=tuple(gain.low for gain in gains.values()),
                high=tuple(gain.high for gain in gains.values()),
            )
        )
    return Chart(
        name=f"compare-{contest.table.slug}",
        title=f"Lift of the {contest.table.consumer.upper()} ranker, A and B",
        kind="bars",
        x_title="lift of ROC-AUC, %",
        y_title="",
        series=tuple(series),
        note="ROC-AUC against the same model without embeddings, each factory its own.",
    )


def config_differences(sides: Sides) -> Table:
    """The settings in which the two differ, defaults included, by their dotted paths."""
    a, b = (flat(side.config.model_dump(mode="json")) for side in sides)
    rows = tuple(
        {"key": key, "a": _setting(a, key), "b": _setting(b, key)}
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    )
    columns = (Column("key", "setting"), Column("a", sides[0].name), Column("b", sides[1].name))
    return Table(
        name="config",
        title="What is set differently",
        consumer="",
        first_day="",
        last_day="",
        answer=f"{len(rows)} settings differ." if rows else "The two configs are the same.",
        columns=columns if rows else (),
        rows=rows,
    )


def _setting(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "not there"
