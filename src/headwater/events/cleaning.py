"""Which rows may be used: the others go to quarantine, each with a reason."""

from __future__ import annotations

from typing import Any

import polars as pl

from headwater.schema import Log, Numeric

REASON = "reject_reason"
TIME = "time_us"


def typed(frame: pl.DataFrame, log: Log) -> pl.DataFrame:
    """Text cells (CSV) of labels and numeric features as numbers.

    What is no number becomes null.
    """
    numeric = [name for name, kind in log.features.items() if isinstance(kind, Numeric)]
    casts = [
        pl.col(column).cast(pl.Float64, strict=False)
        for column in [*log.labels, *numeric]
        if frame.schema[column] in (pl.String, pl.Boolean)
    ]
    return frame.with_columns(casts)


def reasons(frame: pl.DataFrame, raw: pl.DataFrame, log: Log) -> pl.Series:
    """Why each row is refused, or null. `raw` holds the cells before `typed`."""
    found: Any = pl.when(pl.col(TIME).is_null()).then(pl.lit(f"{log.time}: not a time"))
    for entity, column in log.entities.items():
        empty = pl.col(column).is_null()
        if frame.schema[column] == pl.String:
            empty = empty | (pl.col(column).str.strip_chars() == "")
        found = found.when(empty).then(pl.lit(f"{column}: missing {entity} id"))
    for label in log.labels:
        binary = ((pl.col(label) == 0) | (pl.col(label) == 1)).fill_null(False)
        found = found.when(~binary).then(pl.lit(f"{label}: label is not 0 or 1"))
    for name, kind in log.features.items():
        if isinstance(kind, Numeric) and frame.schema[name].is_float():
            found = found.when(pl.col(name).is_infinite()).then(pl.lit(f"{name}: not finite"))
        if isinstance(kind, Numeric) and raw.schema[name] == pl.String:
            written = raw[name].is_not_null() & (raw[name].str.strip_chars() != "")
            garbled = pl.col(name).is_null() & written
            found = found.when(garbled).then(pl.lit(f"{name}: not a number"))
    first = frame.select(found.otherwise(pl.lit(None, dtype=pl.String)).alias(REASON))[REASON]
    return _with_duplicates(first, frame, log)


def _with_duplicates(first: pl.Series, frame: pl.DataFrame, log: Log) -> pl.Series:
    """The reasons, and those of rows without one that repeat an earlier such row."""
    identity = [log.event_id] if log.event_id else [TIME, *log.entities.values()]
    valid = frame.with_row_index("_row").filter(first.is_null())
    repeated = valid.filter(~pl.struct(identity).is_first_distinct())["_row"]
    told = ", ".join(column if column != TIME else log.time for column in identity)
    reason = (
        pl.when(pl.col("_row").is_in(repeated.implode()))
        .then(pl.lit(f"duplicate of an earlier row ({told})"))
        .otherwise(pl.col(REASON))
    )
    return pl.DataFrame({REASON: first}).with_row_index("_row").select(reason.alias(REASON))[REASON]
