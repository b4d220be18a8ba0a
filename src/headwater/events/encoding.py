"""Columns of a frame encoded as a Block.

Shape suffixes: N rows, K values of a multi-categorical feature.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import SchemaError
from headwater.events.blocks import Block
from headwater.events.moments import MISSING_MOMENT, moments_in
from headwater.events.times import to_us
from headwater.ids import hash_values
from headwater.schema import Categorical, Feature, MultiCategorical, Numeric, Timestamp, Vector


def encode(frame: pl.DataFrame, features: Mapping[str, Feature], where: str, zone: str) -> Block:
    """Encode the columns of `frame`.

    Raises SchemaError, with every column that is not of its declared kind.
    """
    problems: list[str] = []
    encoded: dict[str, list[np.ndarray]] = {}
    for name, kind in features.items():
        try:
            encoded.setdefault(kind.kind, []).append(_encoded(frame[name], kind, zone))
        except (pl.exceptions.PolarsError, ValueError) as error:
            problems.append(
                f"{name}: declared {kind.kind}, holds {frame.schema[name]}"
                f" ({str(error).splitlines()[0]})"
            )
    if problems:
        raise SchemaError(f"{where}: features that are not of their declared kind:", problems)
    n = len(frame)
    return Block(
        _columns(encoded.get("categorical", []), n, np.int64),
        tuple(encoded.get("multi_categorical", [])),
        _columns(encoded.get("numeric", []), n, np.float32),
        tuple(encoded.get("vector", [])),
        _columns(encoded.get("timestamp", []), n, np.int64),
    )


def context_block(
    frame: pl.DataFrame,
    features: Mapping[str, Feature],
    where: str,
    zone: ZoneInfo,
    day: dt.date,
    times_us_N: np.ndarray,
) -> Block:
    """Encode a log's own features, for events at `times_us_N` of `day`."""
    return encode(frame, features, where, zone.key).read_moments(
        moments_in(features), True, day, times_us_N, zone
    )


def codes(column: pl.Series, kind: Categorical | MultiCategorical) -> np.ndarray:
    """A categorical feature's values as int64 codes [N, K], 0 for none.

    Equal values have equal codes, whatever the buckets.
    """
    if isinstance(kind, Categorical):
        return hash_values(_as_values(column), seed=0).view(np.int64)[:, None]
    rows, positions, values = _flat(column, kind)
    out = np.zeros((len(column), kind.length), np.int64)
    out[rows, positions] = hash_values(values, seed=0).view(np.int64)
    return out


def _encoded(column: pl.Series, kind: Feature, zone: str) -> np.ndarray:
    if isinstance(kind, Categorical):
        return _categorical(column, kind)
    if isinstance(kind, MultiCategorical):
        return _multi(column, kind)
    if isinstance(kind, Numeric):
        return _numeric(column, kind)
    if isinstance(kind, Vector):
        return _vector(column, kind)
    return _moment(column, kind, zone)


def _moment(column: pl.Series, kind: Timestamp, zone: str) -> np.ndarray:
    dtype = column.dtype
    if not (dtype.is_temporal() or dtype.is_numeric() or dtype == pl.String):
        raise ValueError("expected times")
    us = column.to_frame().select(to_us(column.name, dtype, kind.unit, zone)).to_series()
    return us.fill_null(MISSING_MOMENT).to_numpy()


def _columns(parts: list[np.ndarray], n: int, dtype: type) -> np.ndarray:
    return np.stack(parts, axis=1).astype(dtype) if parts else np.zeros((n, 0), dtype)


def _categorical(column: pl.Series, kind: Categorical) -> np.ndarray:
    if kind.values is not None:
        slot_of = {str(value): position + 2 for position, value in enumerate(kind.values)}
        column = _as_values(column)
        mapped = column.cast(pl.String).replace_strict(slot_of, default=1, return_dtype=pl.Int64)
        return pl.select(pl.when(column.is_null()).then(0).otherwise(mapped)).to_series().to_numpy()
    hashes = hash_values(_as_values(column), seed=0)
    return hashes.view(np.int64) if kind.vocabulary is not None else _bucket(hashes, kind.buckets)


def _as_values(column: pl.Series) -> pl.Series:
    """A categorical column so that equal values are equal whatever file they came in.

    An integer column with gaps, which pandas writes as floats, is of integers again (2.0 is 2, NaN
    is missing).
    """
    if not column.dtype.is_float():
        return column
    values = column.fill_nan(None)
    whole = (values == values.round()) & (values.abs() < 2**63)
    if (whole | values.is_null()).all():
        return values.cast(pl.Int64)
    return pl.select(
        pl.when(whole)
        .then(values.cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(values.cast(pl.String))
    ).to_series()


def _bucket(hashes: np.ndarray, buckets: int) -> np.ndarray:
    return np.where(hashes == 0, 0, 1 + (hashes % np.uint64(buckets)).astype(np.int64))


def _flat(column: pl.Series, kind: MultiCategorical) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    """Row, position in its cell, and value of every value that is read."""
    lists = column
    if column.dtype == pl.String:
        lists = column.str.split(kind.separator)
    if not isinstance(lists.dtype, pl.List):
        raise ValueError("expected lists, or text with separators")
    flat = pl.DataFrame({"row": np.arange(len(lists)), "value": lists}).explode("value")
    flat = flat.with_columns(_as_values(flat["value"]).cast(pl.String))
    flat = flat.with_columns(pl.col("value").str.strip_chars()).filter(
        pl.col("value").is_not_null() & (pl.col("value") != "")
    )
    flat = flat.with_columns(position=pl.int_range(pl.len()).over("row")).filter(
        pl.col("position") < kind.length
    )
    return flat["row"].to_numpy(), flat["position"].to_numpy(), flat["value"]


def _multi(column: pl.Series, kind: MultiCategorical) -> np.ndarray:
    rows, positions, values = _flat(column, kind)
    out = np.zeros((len(column), kind.length), np.int64)
    out[rows, positions] = _bucket(hash_values(values, seed=0), kind.buckets)
    return out


def _numeric(column: pl.Series, kind: Numeric) -> np.ndarray:
    if column.dtype not in (pl.String, pl.Boolean) and not column.dtype.is_numeric():
        raise ValueError("expected numbers")
    values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if column.dtype == pl.String and np.isnan(values).all():
        present = column.drop_nulls()
        known = present.str.strip_chars().filter(present != "")
        if known.len():
            raise ValueError(f"expected numbers, received text such as {known[0]!r}")
    values = np.where(np.isfinite(values), values, np.nan)
    if kind.log:
        values = np.sign(values) * np.log1p(np.abs(values))
    with np.errstate(over="ignore"):
        out = values.astype(np.float32)
    # a number that float32 cannot hold is as good as missing
    return np.where(np.isfinite(out), out, np.float32("nan"))


def _vector(column: pl.Series, kind: Vector) -> np.ndarray:
    values = column.cast(pl.List(pl.Float32))
    widths = values.list.len().drop_nulls().unique().to_list()
    if widths not in ([kind.width], []):
        raise ValueError(f"expected {kind.width} numbers, received {widths}")
    out = np.full((len(column), kind.width), np.nan, np.float32)
    present = column.is_not_null().to_numpy()
    out[present] = values.drop_nulls().explode().to_numpy().reshape(-1, kind.width)
    return np.where(np.isfinite(out), out, np.nan)
