"""What may be said of a lift: by its three ROC-AUCs, and beside its own shuffled control."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Literal, TypeAlias

import numpy as np

from headwater.evaluation.lift import Lift

Tone: TypeAlias = Literal["good", "bad", "flat", "doubt", "mixed"]


def tone_of(low: float, high: float) -> Tone:
    """What an interval allows to be said: good above zero, bad below it, flat where it holds it."""
    if low > 0:
        return "good"
    return "bad" if high < 0 else "flat"


def agreed(pooled: Tone, daily: Tone, group: Tone) -> Tone:
    """What three ROC-AUCs allow together: pooled over days, the mean of the days', and within
    groups (flat where there is none).

    A gain is shown where pooled and daily both gain and no loss is shown within groups: what gains
    over days alone has learnt their base rates, which no reader sees side by side. A loss is shown
    where pooled and daily both lose, or where the order within groups does. Where one gains and
    another loses, the finding is mixed.
    """
    if {"good", "bad"} <= {pooled, daily, group}:
        return "mixed"
    if pooled == daily == "good":
        return "good"
    return "bad" if group == "bad" or pooled == daily == "bad" else "flat"


def shown(lift: Lift) -> Tone:
    """What may be said of a comparison that was chosen beforehand: by its intervals."""
    return agreed(
        tone_of(lift.low, lift.high),
        tone_of(lift.daily.low, lift.daily.high),
        tone_of(lift.group.low, lift.group.high),
    )


def corrected_tone(lift: Lift, alpha: float) -> Tone:
    """What may be said of one of many comparisons: by p after correction over the table."""
    return agreed(
        _by_p(lift.p_holm, lift.roc_auc_lift_pct, alpha),
        _by_p(lift.daily.p_holm, lift.daily.lift_pct, alpha),
        _by_p(lift.group.p_holm, lift.group.lift_pct, alpha),
    )


def _by_p(p_value: float | None, lift_pct: float, alpha: float) -> Tone:
    if p_value is None or p_value >= alpha:
        return "flat"
    return "good" if lift_pct > 0 else "bad"


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

    That is the lower end of the interval, pooled and daily, where no loss is shown within groups.
    An interval that is wide shows nothing, while it would pass for not shown to lose.
    """
    if tone_of(over.group.low, over.group.high) == "bad":
        return False
    daily_holds = np.isnan(over.daily.low) or over.daily.low > -margin_pct
    return bool(over.low > -margin_pct and daily_holds)


def last_no_worse(overs: Sequence[Lift], margin_pct: float) -> Lift | None:
    """The last of a row of ever leaner variants that is no worse; None where the first is not.

    Up to the first that is not shown: tests in an order fixed beforehand err together no more often
    than one of them (Maurer, Hothorn & Lehmacher 1995).
    """
    kept = list(takewhile(lambda over: is_no_worse(over, margin_pct), overs))
    return kept[-1] if kept else None
