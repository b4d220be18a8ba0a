"""Two factories side by side: whose vectors gain more, how sure, and what is set differently.

It is one page, as the report is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.console import SILENT, Console
from headwater.errors import ExperimentError
from headwater.evaluation.table import Table
from headwater.files import write_atomic
from headwater.report.contests import Contest, Side, Sides, contest_headline, contests_of
from headwater.report.differences import compared, config_differences
from headwater.report.headline import Headline
from headwater.report.page import render, sections_of


@dataclass(frozen=True)
class Comparison:
    """What a page about two factories says.

    `answer`: a sentence a ranker; `same_rows`: by ranker, whether both judged the same rows;
    `settings`: what is set differently.
    """

    page: Path
    answer: tuple[str, ...]
    same_rows: Mapping[str, bool]
    tables: tuple[Table, ...]
    settings: Table

    def as_json(self) -> dict[str, Any]:
        return {
            "compare": str(self.page),
            "answer": list(self.answer),
            "same_rows": dict(self.same_rows),
            "tables": [table.as_json() for table in self.tables],
            "config": [dict(row) for row in self.settings.rows],
        }


def write_compare(a: Path, b: Path, out: Path, console: Console = SILENT) -> Comparison:
    """Write the page `out` about two factories, given by the paths of their factory.yaml.

    Raises ExperimentError where no ranker was judged in both.
    """
    console.log("making the tables of both, with intervals")
    sides = Side.load("A", a, console), Side.load("B", b, console)
    contests = contests_of(sides)
    if not contests:
        raise ExperimentError(
            f"compare: {a} and {b} have no ranker that was judged in both. `headwater status"
            " --factory` tells what each has; run days with `headwater backfill`."
        )
    tables = _tables_of_both(sides, contests)
    settings = config_differences(sides)
    cards = [contest_headline(sides, contest) for contest in contests if contest.has_gains]
    write_atomic(out, _page(sides, cards, tables, settings))
    return Comparison(
        out,
        tuple(card.sentence for card in cards),
        {contest.table.slug: contest.same for contest in contests},
        tuple(tables),
        settings,
    )


def _tables_of_both(sides: Sides, contests: Sequence[Contest]) -> list[Table]:
    a, b = sides
    by_slug = {contest.table.slug: contest for contest in contests}
    return [compared(sides, slug, by_slug.get(slug)) for slug in a.tables if slug in b.tables]


def _page(sides: Sides, cards: Sequence[Headline], tables: Sequence[Table], settings: Table) -> str:
    sections = sections_of([*tables, settings])
    return render(
        "compare.html",
        sections,
        measured=sections[:-1],
        settings=sections[-1],
        cards=cards,
        sides=sides,
        lone=_lone_tables(sides),
        confidence=sides[0].config.evaluation.confidence,
    )


def _lone_tables(sides: Sides) -> list[str]:
    """What one of the two has and the other has not, in a sentence each."""
    a, b = sides
    lines = []
    for side, other in ((a, b), (b, a)):
        missing = [slug for slug in side.tables if slug not in other.tables]
        if missing:
            lines.append(f"{side.letter} alone has {', '.join(missing)}.")
    return lines
