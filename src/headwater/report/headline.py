"""The headline: does it help, how much, how sure, for a reader with ten seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.config import SHUFFLED
from headwater.evaluation.table import Table
from headwater.evaluation.verdict import Tone, agreed, beside_control, tone_of

RANKERS = ("T2", "T3")  # the tables that give a ranker's lifts by variant
WORDS: dict[Tone, str] = {
    "good": "helps",
    "flat": "no effect shown",
    "bad": "hurts",
    "doubt": "in doubt: no gain over the control",
    "mixed": "mixed: one ROC-AUC rises, another falls",
}


@dataclass(frozen=True)
class Bar:
    """A figure with its interval; `left`, `width` and `at` place both on a strip, in per cent of
    its length.
    """

    name: str
    figure: float
    low: float
    high: float
    tone: Tone
    left: float = 0.0
    width: float = 0.0
    at: float = 0.0


@dataclass(frozen=True)
class Gain:
    """What a variant gains over the same model without embeddings on `rows` judged rows.

    The gain and the bounds of its interval are changes of ROC-AUC in per cent; `tone` is what they
    allow to be said beside those of the daily ROC-AUC and of that within groups, `others`. `p_holm`
    is corrected over the table: the greater of the pooled one's and the daily one's, for a gain is
    of both.
    """

    variant: str
    rows: int
    lift_pct: float
    low: float
    high: float
    tone: Tone
    others: tuple[Bar, ...] = ()
    p_holm: float | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Gain:
        """From a row of lifts."""
        daily = _bar(row, "daily", "daily")
        group = _bar(row, "group", f"within {row['group_of']}")
        tones = ["flat" if one is None else one.tone for one in (daily, group)]
        tested = [row[key] for key in ("p_holm", "daily_p_holm") if row[key] is not None]
        return cls(
            row["variant"],
            row["n"],
            row["roc_auc_lift_pct"],
            row["low"],
            row["high"],
            agreed(tone_of(row["low"], row["high"]), tones[0], tones[1]),
            tuple(one for one in (daily, group) if one is not None),
            max(tested, default=None),
        )

    @property
    def interval(self) -> str:
        return f"{signed(self.low)} to {signed(self.high)}"


@dataclass(frozen=True)
class Headline:
    """A ranker's answer. `bars` lie on one strip, whose zero lies at `zero` per cent."""

    title: str
    anchor: str
    tone: str
    word: str
    figure: str
    unit: str
    interval: str
    sentence: str
    bars: tuple[Bar, ...]
    zero: float


def headlines(tables: Sequence[Table], alpha: float = 0.05) -> list[Headline]:
    """The headlines of all rankers that have a variant to compare."""
    return [headline(table, alpha) for table in tables if table.name in RANKERS and gains_of(table)]


def headline(table: Table, alpha: float = 0.05) -> Headline:
    """What the variant that reads all embeddings gains, and whether the shuffled control is flat.

    Where no variant reads all, it is about the best, and says so; chosen afterwards, it counts as
    shown where its corrected p is below `alpha`. An interval that holds zero
    shows no effect. A gain that is not shown over the control too is in doubt, since the control's
    vectors are other entities' own.
    """
    gains = gains_of(table)
    reading = {name: gain for name, gain in gains.items() if name != SHUFFLED} or gains
    gain = main_gain(reading)
    name = "reading all embeddings"
    if gain.variant != "all":
        name = f"reading {gain.variant}, the best of {len(reading)} variants afterwards"
    bars = [bar_of(name, gain), *gain.others]
    if gain.variant != "all" and gain.p_holm is not None and gain.p_holm >= alpha:
        bars[0] = replace(bars[0], tone="flat")
    said = table.answer
    if SHUFFLED in gains:
        control = gains[SHUFFLED]
        bars.append(bar_of(f"shuffled control, {signed(control.lift_pct)} %", control))
        over = gains_of(table, SHUFFLED).get(gain.variant)
        if beside_control(bars[0].tone, None if over is None else over.tone) == "doubt":
            bars = [replace(bars[0], tone="doubt"), *gain.others, replace(bars[-1], tone="doubt")]
    else:
        said += " No shuffled control was judged."
    placed, zero = strip(bars)
    return Headline(
        title=f"{table.consumer.upper()} ranker",
        anchor=table.slug,
        tone=placed[0].tone,
        word=WORDS[placed[0].tone],
        figure=signed(gain.lift_pct),
        unit="%",
        interval=f"{gain.interval} %",
        sentence=said,
        bars=placed,
        zero=zero,
    )


def gains_of(table: Table, baseline: str = "none") -> dict[str, Gain]:
    """The gains of a ranker's variants over the model without embeddings, or over another."""
    return {
        row["variant"]: Gain.of(row)
        for row in table.rows
        if row["baseline"] == baseline != row["variant"]
    }


def _bar(row: Mapping[str, Any], metric: str, name: str) -> Bar | None:
    """The lift of one of the other two ROC-AUCs; None where it is not defined."""
    figure, low, high = (row[f"{metric}_{key}"] for key in ("lift_pct", "low", "high"))
    if figure is None:
        return None
    return Bar(f"{name}, {signed(figure)} %", figure, low, high, tone_of(low, high))


def main_gain(gains: Mapping[str, Gain]) -> Gain:
    """The gain of the variant that reads all embeddings; the greatest where there is none."""
    return gains["all"] if "all" in gains else greatest(gains.values())


def greatest(gains: Iterable[Gain]) -> Gain:
    """The greatest gain; of equal ones the first."""
    return max(gains, key=lambda gain: gain.lift_pct)


def bar_of(name: str, gain: Gain) -> Bar:
    """A gain under a name, not yet placed on a strip."""
    return Bar(name, gain.lift_pct, gain.low, gain.high, gain.tone)


def strip(bars: Sequence[Bar]) -> tuple[tuple[Bar, ...], float]:
    """The bars placed on one strip that also holds zero, and the place of zero."""
    bounds = [0.0, *(bound for bar in bars for bound in (bar.low, bar.high, bar.figure))]
    low = min(bounds)
    span = (max(bounds) - low) or 1.0

    def at(value: float) -> float:
        return round(4 + 92 * (value - low) / span, 2)

    placed = tuple(
        replace(
            bar, left=at(bar.low), width=round(at(bar.high) - at(bar.low), 2), at=at(bar.figure)
        )
        for bar in bars
    )
    return placed, at(0)


def signed(value: float) -> str:
    """Two decimals with their sign, and a minus as long as the plus."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
