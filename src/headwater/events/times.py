"""Times: any column to UTC microseconds, and days cut at local midnight."""

from __future__ import annotations

import datetime as dt
from functools import partial
from zoneinfo import ZoneInfo

import polars as pl

US_PER_DAY = 86_400_000_000
US_PER_SECOND = 1_000_000
US_PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
# A time outside these years is no event of an ads log; most often its unit is wrong.
EARLIEST_US = int(dt.datetime(2000, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
LATEST_US = int(dt.datetime(2100, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
_TEXT_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M")
_ZONED_FORMATS = ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z")


def day_bounds_us(day: dt.date, zone: ZoneInfo) -> tuple[int, int]:
    """UTC microseconds of the local midnights that begin and end `day`."""

    def midnight(date: dt.date) -> int:
        return int(dt.datetime.combine(date, dt.time(), tzinfo=zone).timestamp()) * 1_000_000

    return midnight(day), midnight(day + dt.timedelta(days=1))


def _local_to_utc_us(moment: pl.Expr, zone: str) -> pl.Expr:
    zoned = moment.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return zoned.dt.cast_time_unit("us").cast(pl.Int64)


def to_us(column: str, dtype: pl.DataType, unit: str, zone: str) -> pl.Expr:
    """UTC microseconds (Int64) of a column.

    Null where unparsable, or outside the years 2000 to 2100. Integers and decimal text count
    `unit`s since 1970 UTC. A datetime without a zone, or text such as `2022-05-01 13:00:00`, is
    local time of `zone`; text with an offset (`+08:00`, `Z`) says its own.
    """
    value = pl.col(column)
    us = pl.lit(None, dtype=pl.Int64)
    if isinstance(dtype, pl.Datetime):
        us = _local_to_utc_us(value, zone)
        if dtype.time_zone:
            us = value.dt.cast_time_unit("us").cast(pl.Int64)
    elif dtype == pl.Date:
        us = _local_to_utc_us(value.cast(pl.Datetime("us")), zone)
    elif dtype == pl.String:
        us = _text_to_us(value.str.strip_chars(), unit, zone)
    elif dtype.is_integer():
        us = _scale(value.cast(pl.Float64), value.cast(pl.Int64, strict=False), unit)
    elif dtype.is_float():
        us = _scale(value, value.cast(pl.Int64, strict=False), unit)
    return pl.when(us.is_between(EARLIEST_US, LATEST_US, closed="left")).then(us)


def _text_to_us(text: pl.Expr, unit: str, zone: str) -> pl.Expr:
    """Of text: a number, a time with an offset, or one of the zone, whichever it can be."""
    return text.map_batches(
        partial(_texts_to_us, unit=unit, zone=zone),
        return_dtype=pl.Int64,
        is_elementwise=True,
    )


def _texts_to_us(texts: pl.Series, unit: str, zone: str) -> pl.Series:
    """Each way of writing a time is tried on what no way before it could read.

    A column is nearly always written in one way: the one that reads the first text is tried first,
    and seldom is anything left for the others.
    """
    ways = _ways_of_writing(unit, zone)
    first = texts.drop_nulls().head(1)
    ways.sort(key=lambda way: len(first) == 0 or _read(first, way).null_count() > 0)
    us = _read(texts, ways[0])
    for way in ways[1:]:
        left = us.is_null() & texts.is_not_null()
        if not left.any():
            break
        us = us.zip_with(~left, _read(texts.set(~left, None), way))
    return us


def _ways_of_writing(unit: str, zone: str) -> list[pl.Expr]:
    text = pl.col("text")
    number = _scale(text.cast(pl.Float64, strict=False), text.cast(pl.Int64, strict=False), unit)
    zoned = [
        text.str.to_datetime(form, strict=False, time_unit="us", time_zone="UTC").cast(pl.Int64)
        for form in _ZONED_FORMATS
    ]
    local = [
        _local_to_utc_us(text.str.to_datetime(form, strict=False, time_unit="us"), zone)
        for form in _TEXT_FORMATS
    ]
    return [number, *zoned, *local]


def _read(texts: pl.Series, way: pl.Expr) -> pl.Series:
    return pl.DataFrame({"text": texts}).select(way).to_series()


def _scale(rough: pl.Expr, exact: pl.Expr, unit: str) -> pl.Expr:
    """Microseconds; `rough` guards the multiplication against overflow."""
    factor = US_PER_UNIT[unit]
    plausible = (rough * factor).is_between(EARLIEST_US, LATEST_US, closed="left")
    whole = exact // 1000 if unit == "ns" else exact * int(factor)
    fraction = rough != rough.floor()
    us = (
        pl.when(fraction | exact.is_null())
        .then((rough * factor).round().cast(pl.Int64, strict=False))
        .otherwise(whole)
    )
    return pl.when(plausible).then(us)


def raw_bounds(low_us: int, high_us: int, unit: str) -> tuple[int, int]:
    """The same half-open interval in `unit`s, for filters that a Parquet reader can push down."""
    if unit == "ns":
        return low_us * 1000, high_us * 1000
    factor = int(US_PER_UNIT[unit])
    return -(-low_us // factor), -(-high_us // factor)


def date_of_us(us: int, zone: ZoneInfo) -> dt.date:
    """The day whose local midnights lie around a moment; see `day_bounds_us`.

    A clock that is set back over midnight shows the day before once more: those minutes are of the
    day that has begun.
    """
    day = dt.datetime.fromtimestamp(us // 1_000_000, tz=zone).date()
    return day + dt.timedelta(days=us >= day_bounds_us(day, zone)[1])
