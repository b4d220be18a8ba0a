"""Moments as numbers: cycles of the day and week, ages, recencies.

Shape suffixes: N rows, T moments, F numbers.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.events.times import US_PER_DAY, day_bounds_us
from headwater.schema import Feature, Timestamp

# of each reading of a moment; cycles: sine and cosine of the hour, and of the weekday
NUMBERS = {"cycles": 4, "age": 1, "recency": 1}
US_PER_HOUR = 3_600_000_000
MISSING_MOMENT = np.iinfo(np.int64).min


def readings(kind: Timestamp, context: bool) -> tuple[str, ...]:
    """How a moment is read: as it is declared or, by default, as cycles or as its age.

    Of a log's row (`context`) the default is cycles, of an entity its age.
    """
    return kind.read or (("cycles",) if context else ("age",))


def moments_in(features: Mapping[str, Feature]) -> list[Timestamp]:
    """The features that are moments, in their order."""
    return [kind for kind in features.values() if isinstance(kind, Timestamp)]


def moment_numbers(
    moments_NT: np.ndarray,
    kinds: Sequence[Timestamp],
    context: bool,
    day: dt.date,
    times_us_N: np.ndarray | None,
    zone: ZoneInfo,
) -> np.ndarray:
    """Moments [N, T] as numbers [N, F], each as its kind is read; NaN where it is not told.

    Events are at `times_us_N` of `day` (None: at its end). What an entity's table says of a moment
    within the day may not have been known at the event, so it is not told.
    """
    midnight, end = day_bounds_us(day, zone)
    then_N = np.full(len(moments_NT), end, np.int64) if times_us_N is None else times_us_N
    parts = []
    for kind, moment_N in zip(kinds, moments_NT.T, strict=True):
        known_N = moment_N != MISSING_MOMENT
        told_N = known_N & (moment_N <= then_N) & (context | (moment_N < midnight))
        for reading in readings(kind, context):
            if reading == "cycles":
                cycles_N4 = _cycles(moment_N, known_N, zone)
                parts.append(np.where(told_N[:, None], cycles_N4, np.nan))
            elif reading == "age":
                days_N = (midnight - moment_N) / US_PER_DAY
                parts.append(_logarithm(np.floor(days_N), known_N & (days_N >= 0)))
            else:
                parts.append(_logarithm((then_N - moment_N) / US_PER_HOUR, told_N))
    return np.hstack(parts)


def _logarithm(passed_N: np.ndarray, told_N: np.ndarray) -> np.ndarray:
    """log(1 + what has passed), [N, 1]."""
    return np.where(told_N, np.log1p(np.maximum(passed_N, 0)), np.nan)[:, None]


def _cycles(moment_N: np.ndarray, known_N: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """Sine and cosine of the local hour and of the weekday, [N, 4]."""
    local = (
        pl.Series(np.where(known_N, moment_N, 0))
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(zone.key)
    )
    hour = local.dt.hour().to_numpy() + local.dt.minute().to_numpy() / 60
    turns = (hour / 24, (local.dt.weekday().to_numpy() - 1) / 7)
    return np.stack([wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)], axis=1)
