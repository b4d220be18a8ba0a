"""Two factories side by side: whose vectors gain more, how sure, and what is set differently. One
page, as the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.config import SHUFFLED, FactoryConfig, load_config, warehouse_of
from headwater.console import SILENT, Console
from headwater.errors import ExperimentError
from headwater.evaluation.compare import Difference, lift_differences, same_rows
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.files import write_atomic
from headwater.report.headline import (
    RANKERS,
    Headline,
    Measured,
    lifts_by_variant,
    signed,
    strip,
    tone_of,
)
from headwater.report.page import flat, render, sections_of
from headwater.studies import report_tables
from headwater.studies.making import pooled

BOOTSTRAP_SEED = 20250904
NO_DIFFERENCE = ("p_value", "p_holm", "rows_needed")  # figures of which it would say nothing


@dataclass(frozen=True)
class Side:
    """One of the two."""

    letter: str
    path: Path
    config: FactoryConfig
    tables: Mapping[str, Table]

    @property
    def name(self) -> str:
        return f"{self.letter} {self.config.name}"

    @classmethod
    def load(cls, letter: str, path: Path, console: Console) -> Side:
        config = load_config(path)
        return cls(
            letter,
            path,
            config,
            {table.slug: table for table in report_tables(config, path.resolve().parent, console)},
        )


@dataclass(frozen=True)
class Contest:
    """A ranker in both factories. `differences` by variant are of B over A, in points; none where
    they judged other rows.
    """

    table: Table
    other: Table
    differences: Mapping[str, Difference]
    same: bool


def write_compare(a: Path, b: Path, out: Path, console: Console = SILENT) -> dict[str, Any]:
    """Write the page `out` about two factories (paths of their factory.yaml); returns what it says.

    Raises ExperimentError where no ranker was judged in both.
    """
    console.log("making the tables of both, with bootstrap intervals")
    sides = Side.load("A", a, console), Side.load("B", b, console)
    contests = [
        _contest(sides, slug)
        for slug, table in sides[0].tables.items()
        if table.name in RANKERS and slug in sides[1].tables
    ]
    if not contests:
        raise ExperimentError(
            f"compare: {a} and {b} have no ranker that was judged in both. `headwater status"
            " --factory` tells what each has; run days with `headwater backfill`."
        )
    by_slug = {contest.table.slug: contest for contest in contests}
    tables = [
        compared(sides, slug, by_slug.get(slug))
        for slug in sides[0].tables
        if slug in sides[1].tables
    ]
    settings = config_differences(sides)
    lone = [
        f"{side.letter} alone has {', '.join(missing)}."
        for side, other in (sides, sides[::-1])
        if (missing := [slug for slug in side.tables if slug not in other.tables])
    ]
    cards = [
        contest_headline(sides, contest)
        for contest in contests
        if lifts_by_variant(contest.table) and lifts_by_variant(contest.other)
    ]
    sections = sections_of([*tables, settings])
    write_atomic(
        out,
        render(
            "compare.html",
            sections,
            measured=sections[:-1],
            settings=sections[-1],
            cards=cards,
            sides=sides,
            lone=lone,
            confidence=sides[0].config.evaluation.confidence,
            bootstrap=sides[0].config.evaluation.bootstrap,
        ),
    )
    return {
        "compare": str(out),
        "answer": [card.sentence for card in cards],
        "same_rows": {contest.table.slug: contest.same for contest in contests},
        "tables": [table.as_json() for table in tables],
        "config": [dict(row) for row in settings.rows],
    }


def _contest(sides: tuple[Side, Side], slug: str) -> Contest:
    table, other = (side.tables[slug] for side in sides)
    span = sides[0].config.evaluation
    a, b = (
        pooled(side.config, warehouse_of(side.config, side.path.resolve().parent), table.consumer)
        for side in sides
    )
    same = same_rows(a, b)
    found = lift_differences(a, b, span.bootstrap, span.confidence, BOOTSTRAP_SEED) if same else []
    return Contest(table, other, {one.variant: one for one in found}, same)


def contest_headline(sides: tuple[Side, Side], contest: Contest) -> Headline:
    """Whose variant gains more: the variant that reads all embeddings, or each factory's best where
    one has no such variant.
    """
    variants = [lifts_by_variant(table) for table in (contest.table, contest.other)]
    rows = [
        found["all"] if all("all" in one for one in variants) else _best(found)
        for found in variants
    ]
    found = [
        Measured(
            f"{side.name}, {signed(row['roc_auc_lift_pct'])} %",
            row["roc_auc_lift_pct"],
            row["low"],
            row["high"],
            tone_of(row["low"], row["high"]),
        )
        for side, row in zip(sides, rows, strict=True)
    ]
    difference = (
        contest.differences.get(rows[0]["variant"])
        if rows[0]["variant"] == rows[1]["variant"]
        else None
    )
    points = difference.points if difference else found[1].figure - found[0].figure
    if difference is None:
        tone, word, interval = "doubt", "not comparable row by row", "no interval of the difference"
        why = "the variants are not the same" if contest.same else "they judged other rows"
        said = f"The two are not comparable row by row, since {why}: see both intervals."
    else:
        tone = "flat" if difference.low <= 0 <= difference.high else "good"
        word = "no difference shown" if tone == "flat" else f"{sides[points > 0].letter} gains more"
        interval = f"{signed(difference.low)} to {signed(difference.high)} points"
        said = (
            f"On the same {rows[0]['n']:,} rows, B less A is {signed(points)} points ({interval}):"
            f" {word}."
        )
    who = f"{contest.table.consumer.upper()} ranker"
    lifts = " and ".join(
        f"{side.letter}'s variant {row['variant']} lifts ROC-AUC by {signed(one.figure)} %"
        f" ({signed(one.low)} to {signed(one.high)})"
        for side, row, one in zip(sides, rows, found, strict=True)
    )
    bars, zero = strip(found)
    return Headline(
        f"{who}: B \N{MINUS SIGN} A",
        contest.table.slug,
        tone,
        word,
        signed(points),
        "points",
        interval,
        f"{who}: {lifts}. {said}",
        bars,
        zero,
    )


def _best(variants: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return max(
        (row for name, row in variants.items() if name != SHUFFLED or len(variants) == 1),
        key=lambda row: row["roc_auc_lift_pct"],
    )


def compared(sides: tuple[Side, Side], slug: str, contest: Contest | None) -> Table:
    """A table of both: a line per row and figure, with A, B and the difference B - A."""
    table, other = (side.tables[slug] for side in sides)
    named = tuple(column for column in table.columns if not column.spec) or table.columns[:1]
    figures = [column for column in table.columns if column not in named]
    identities = [
        {tuple(column.show(row) for column in named): row for row in one.rows}
        for one in (table, other)
    ]
    rows = []
    for identity in dict.fromkeys(key for one in identities for key in one):
        pair = [one.get(identity, {}) for one in identities]
        of_none = pair[0].get("baseline", pair[1].get("baseline")) == "none"
        paired = (
            contest.differences.get(str(pair[0].get("variant"))) if contest and of_none else None
        )
        lines = [_line(column, pair, paired) for column in figures]
        rows += [
            {key.key: value for key, value in zip(named, identity, strict=True)} | line
            for line in lines
            if line["a"] or line["b"]
        ]
    columns = (
        *named,
        Column("figure", "figure"),
        Column("a", sides[0].name),
        Column("b", sides[1].name),
        Column("b_less_a", "B \N{MINUS SIGN} A"),
    )
    notes = () if contest is None else (_rows_note(contest),)
    charts = (_side_by_side(sides, contest),) if contest and lifts_by_variant(table) else ()
    return Table(
        table.name,
        table.title,
        table.consumer,
        table.first_day,
        table.last_day,
        "",
        columns,
        tuple(rows),
        notes,
        charts,
    )


def _line(
    column: Column, pair: Sequence[Mapping[str, Any]], paired: Difference | None
) -> dict[str, Any]:
    line = {
        "key": column.key,
        "figure": column.title,
        "a": column.show(pair[0]),
        "b": column.show(pair[1]),
        "b_less_a": "",
    }
    a, b = (row.get(column.key) for row in pair)
    if column.key == "roc_auc_lift_pct" and paired is not None:
        return line | {"b_less_a": f"{paired.points:+.2f} ({paired.low:+.2f}, {paired.high:+.2f})"}
    if (
        column.key in NO_DIFFERENCE
        or not isinstance(a, int | float)
        or not isinstance(b, int | float)
    ):
        return line
    return line | {"b_less_a": Column("d", "", "+" + column.spec.lstrip("+")).show({"d": b - a})}


def _rows_note(contest: Contest) -> str:
    if contest.same:
        return (
            "Both judged exactly the same rows: the interval of a lift's difference is paired, over"
            " users and seeds."
        )
    spans = [
        f"{table.first_day} to {table.last_day}, {table.rows[0]['n']:,} rows"
        for table in (contest.table, contest.other)
    ]
    return (
        f"They judged other rows (A {spans[0]}; B {spans[1]}), so they are not comparable row by"
        " row: differences have no interval."
    )


def _side_by_side(sides: tuple[Side, Side], contest: Contest) -> Chart:
    """The lifts of both, variant by variant."""
    variants = [lifts_by_variant(table) for table in (contest.table, contest.other)]
    series = tuple(
        Series(
            side.name,
            tuple(found),
            *(
                tuple(row[key] for row in found.values())
                for key in ("roc_auc_lift_pct", "low", "high")
            ),
        )
        for side, found in zip(sides, variants, strict=True)
    )
    return Chart(
        f"compare-{contest.table.slug}",
        f"Lift of the {contest.table.consumer.upper()} ranker, A and B",
        "bars",
        "lift of ROC-AUC, %",
        "",
        series,
        "ROC-AUC against the same model without embeddings, each factory its own.",
    )


def config_differences(sides: tuple[Side, Side]) -> Table:
    """The settings in which the two differ, defaults included, by their dotted paths."""
    flats = [flat(side.config.model_dump(mode="json")) for side in sides]
    keys = [
        key
        for key in dict.fromkeys([*flats[0], *flats[1]])
        if flats[0].get(key) != flats[1].get(key)
    ]
    rows = tuple(
        {"key": key, "a": _setting(flats[0], key), "b": _setting(flats[1], key)} for key in keys
    )
    columns = (Column("key", "setting"), Column("a", sides[0].name), Column("b", sides[1].name))
    answer = f"{len(rows)} settings differ." if rows else "The two configs are the same."
    return Table(
        "config", "What is set differently", "", "", "", answer, columns if rows else (), rows
    )


def _setting(flat_config: Mapping[str, Any], key: str) -> str:
    return str(flat_config[key]) if key in flat_config else "not there"
