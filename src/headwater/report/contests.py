"""A ranker in two factories: whose vectors gain more, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TypeAlias

from headwater.config import SHUFFLED, FactoryConfig
from headwater.console import Console
from headwater.evaluation.compare import Difference, Points, lift_differences, same_rows
from headwater.evaluation.table import Table
from headwater.evidence import report_tables
from headwater.report.headline import (
    RANKERS,
    Bar,
    Gain,
    Headline,
    bar_of,
    gains_of,
    greatest,
    signed,
    strip,
)
from headwater.studies.judged import pooled
from headwater.workspace import Workspace


@dataclass(frozen=True)
class Side:
    """One of the two factories, called A or B, with its tables by slug."""

    letter: str
    path: Path
    workspace: Workspace
    tables: Mapping[str, Table]

    @property
    def config(self) -> FactoryConfig:
        return self.workspace.config

    @property
    def name(self) -> str:
        return f"{self.letter} {self.config.name}"

    @classmethod
    def load(cls, letter: str, path: Path, console: Console) -> Side:
        workspace = Workspace.load(path)
        tables = report_tables(workspace, console)
        return cls(letter, path, workspace, {table.slug: table for table in tables})


Sides: TypeAlias = tuple[Side, Side]


@dataclass(frozen=True)
class Contest:
    """A ranker that was judged in both factories.

    `differences`, by variant, are those of B over A in points of per cent; there are none where
    the two judged other rows.
    """

    table: Table
    other: Table
    differences: Mapping[str, Difference]
    same: bool

    @property
    def tables(self) -> tuple[Table, Table]:
        return self.table, self.other

    @property
    def has_gains(self) -> bool:
        """Whether both have a variant to compare with the model without embeddings."""
        return all(gains_of(table) for table in self.tables)


@dataclass(frozen=True)
class Verdict:
    """What may be said of a difference: `points` of per cent, B less A."""

    tone: str
    word: str
    points: float
    interval: str
    sentence: str


def contests_of(sides: Sides) -> list[Contest]:
    """The rankers that were judged in both factories, in the order of A's tables."""
    a, b = sides
    return [
        _contest(sides, slug)
        for slug, table in a.tables.items()
        if table.name in RANKERS and slug in b.tables
    ]


def _contest(sides: Sides, slug: str) -> Contest:
    table, other = (side.tables[slug] for side in sides)
    confidence = sides[0].config.evaluation.confidence
    a, b = (pooled(side.workspace.of_live_lane(), table.consumer) for side in sides)
    same = same_rows(a, b)
    found = lift_differences(a, b, confidence) if same else []
    return Contest(table, other, {one.variant: one for one in found}, same)


def contest_headline(sides: Sides, contest: Contest) -> Headline:
    """Whose variant gains more.

    It is the variant that reads all embeddings, or each factory's best where one has no such
    variant.
    """
    a, b = _compared_gains(contest)
    verdict = _verdict(sides, contest, a, b)
    bars, zero = strip([_bar(sides[0], a), _bar(sides[1], b)])
    ranker = f"{contest.table.consumer.upper()} ranker"
    lifts = f"{_said(sides[0], a)} and {_said(sides[1], b)}"
    return Headline(
        title=f"{ranker}: B \N{MINUS SIGN} A",
        anchor=contest.table.slug,
        tone=verdict.tone,
        word=verdict.word,
        figure=signed(verdict.points),
        unit="points",
        interval=verdict.interval,
        sentence=f"{ranker}: {lifts}. {verdict.sentence}",
        bars=bars,
        zero=zero,
    )


def _compared_gains(contest: Contest) -> tuple[Gain, Gain]:
    a, b = (gains_of(table) for table in contest.tables)
    if "all" in a and "all" in b:
        return a["all"], b["all"]
    return _best(a), _best(b)


def _best(gains: Mapping[str, Gain]) -> Gain:
    """The greatest gain; of the control only where there is nothing else."""
    return greatest(gain for name, gain in gains.items() if name != SHUFFLED or len(gains) == 1)


def _verdict(sides: Sides, contest: Contest, a: Gain, b: Gain) -> Verdict:
    difference = contest.differences.get(a.variant) if a.variant == b.variant else None
    if difference is None:
        why = "the variants are not the same" if contest.same else "they judged other rows"
        return Verdict(
            tone="doubt",
            word="not comparable row by row",
            points=b.lift_pct - a.lift_pct,
            interval="no interval of the difference",
            sentence=f"The two are not comparable row by row, since {why}: see both intervals.",
        )
    points = difference.points
    words = {
        "good": f"{sides[1].letter} gains more",
        "bad": f"{sides[0].letter} gains more",
        "mixed": "mixed: one ROC-AUC gains more, another less",
    }
    word = words.get(difference.tone, "no difference shown")
    interval = f"{signed(difference.low)} to {signed(difference.high)} points"
    caveat = "" if difference.covers_training else " One seed: chance in training is not covered."
    return Verdict(
        tone="good" if difference.tone == "bad" else difference.tone,
        word=word,
        points=points,
        interval=interval,
        sentence=(
            f"On the same {a.rows:,} rows, B less A is {signed(points)} points ({interval};"
            f" daily {_points(difference.daily)}; in group {_points(difference.group)}):"
            f" {word}.{caveat}"
        ),
    )


def _points(found: Points) -> str:
    """A difference of one of the other two ROC-AUCs."""
    if isnan(found.points):
        return "not defined"
    return f"{signed(found.points)}, {signed(found.low)} to {signed(found.high)}"


def _bar(side: Side, gain: Gain) -> Bar:
    return bar_of(f"{side.name}, {signed(gain.lift_pct)} %", gain)


def _said(side: Side, gain: Gain) -> str:
    return (
        f"{side.letter}'s variant {gain.variant} lifts ROC-AUC by {signed(gain.lift_pct)} %"
        f" ({gain.interval})"
    )
