"""What may be said of a lift: by its interval, and beside its own shuffled control."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, TypeAlias

from headwater.evaluation.lift import Lift

Tone: TypeAlias = Literal["good", "bad", "flat", "doubt"]


def tone_of(low: float, high: float) -> Tone:
    """What an interval allows to be said: good above zero, bad below it, flat where it holds it."""
    if low > 0:
        return "good"
    return "bad" if high < 0 else "flat"


def corrected_tone(lift: Lift, alpha: float) -> Tone:
    """What may be said of one of many comparisons: by p after correction over the table."""
    if lift.p_holm is None or lift.p_holm >= alpha:
        return "flat"
    return "good" if lift.roc_auc_lift_pct > 0 else "bad"


def beside_control(tone: Tone, over_control: Tone | None) -> Tone:
    """A gain is the vectors' own where they gain over their shuffled control too, on the same rows.

    Where that is not shown, the gain is in doubt: the same numbers of other entities may bring it.
    A loss is a loss, whoever's the numbers are. None: there is no control.
    """
    if tone == "good" and over_control not in (None, "good"):
        return "doubt"
    return tone


def is_no_worse(over: Lift, margin_pct: float) -> bool:
    """Whether it is shown that no more than the margin is lost: non-inferiority.

    That is the lower end of the interval. One that is wide shows nothing, while it would pass for
    not shown to lose.
    """
    return over.low > -margin_pct


def last_no_worse(overs: Sequence[Lift], margin_pct: float) -> Lift | None:
    """The last of a row of ever leaner variants that is no worse; None where the first is not.

    Up to the first that is not shown: tests in an order fixed beforehand err together no more often
    than one of them (Maurer, Hothorn & Lehmacher 1995).
    """
    kept = list(takewhile(lambda over: is_no_worse(over, margin_pct), overs))
    return kept[-1] if kept else None
