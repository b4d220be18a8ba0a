"""The headline: does it help, how much, how sure, for a reader with ten seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.config import SHUFFLED
from headwater.evaluation.table import Table

RANKERS = ("T2", "T3")  # the tables that give a ranker's lifts by variant
WORDS = {
    "good": "helps",
    "flat": "no effect shown",
    "bad": "hurts",
    "doubt": "in doubt: the control lifts too",
}


@dataclass(frozen=True)
class Measured:
    """A figure with its interval; `left`, `width` and `at` place them on a strip, in per cent of
    its length.
    """

    name: str
    figure: float
    low: float
    high: float
    tone: str
    left: float = 0.0
    width: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Headline:
    """A ranker's answer. `bars` are the variant and its control on one strip, whose zero lies at
    `zero` per cent.
    """

    title: str
    anchor: str
    tone: str
    word: str
    figure: str
    unit: str
    interval: str
    sentence: str
    bars: tuple[Measured, ...]
    zero: float


def headlines(tables: Sequence[Table]) -> list[Headline]:
    """Of every ranker that has a variant to compare."""
    return [
        headline(table) for table in tables if table.name in RANKERS and lifts_by_variant(table)
    ]


def headline(table: Table) -> Headline:
    """What the variant that reads all embeddings gains (or the best variant, and then it says so),
    and whether the shuffled control is flat.

    An interval that holds zero shows no effect; a control that lifts puts a gain in doubt, since
    its vectors are other entities' own.
    """
    variants = lifts_by_variant(table)
    reading = {name: row for name, row in variants.items() if name != SHUFFLED} or variants
    best = reading.get("all") or max(reading.values(), key=lambda row: row["roc_auc_lift_pct"])
    name = (
        "reading all embeddings"
        if best["variant"] == "all"
        else f"reading {best['variant']}, the best of {len(reading)} variants afterwards"
    )
    found = _measured(name, best)
    control = (
        _measured(
            f"shuffled control, {signed(variants[SHUFFLED]['roc_auc_lift_pct'])} %",
            variants[SHUFFLED],
        )
        if SHUFFLED in variants
        else None
    )
    if found.tone == "good" and control is not None and control.tone == "good":
        found, control = replace(found, tone="doubt"), replace(control, tone="doubt")
    bars, zero = strip([found] if control is None else [found, control])
    said = table.answer if control else f"{table.answer} No shuffled control was judged."
    return Headline(
        f"{table.consumer.upper()} ranker",
        table.slug,
        found.tone,
        WORDS[found.tone],
        signed(found.figure),
        "%",
        f"{signed(found.low)} to {signed(found.high)} %",
        said,
        bars,
        zero,
    )


def tone_of(low: float, high: float) -> str:
    """What an interval allows to be said."""
    return "good" if low > 0 else "bad" if high < 0 else "flat"


def strip(measured: Sequence[Measured]) -> tuple[tuple[Measured, ...], float]:
    """The figures placed on one strip that also holds zero, and where zero is."""
    bounds = [0.0, *(bound for one in measured for bound in (one.low, one.high, one.figure))]
    low, high = min(bounds), max(bounds)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return round(4 + 92 * (value - low) / span, 2)

    placed = tuple(
        replace(
            one, left=at(one.low), width=round(at(one.high) - at(one.low), 2), at=at(one.figure)
        )
        for one in measured
    )
    return placed, at(0)


def signed(value: float) -> str:
    """Two decimals with their sign, and a minus as long as the plus."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def lifts_by_variant(table: Table) -> dict[str, dict[str, Any]]:
    """The rows by variant, against the model without embeddings."""
    return {
        row["variant"]: dict(row)
        for row in table.rows
        if row["baseline"] == "none" and row["variant"] != "none"
    }


def _measured(name: str, row: dict[str, Any]) -> Measured:
    return Measured(
        name, row["roc_auc_lift_pct"], row["low"], row["high"], tone_of(row["low"], row["high"])
    )
