"""Entity ids: strings or 64-bit integers outside, one 64-bit hash inside.

An integer and its decimal text are the same id (`712` == `"712"`), so a log that stores numbers, a log that stores
text and a person at a terminal all mean the same entity.
"""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import xxhash

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_INT64 = np.iinfo(np.int64)


def as_integer(text: str) -> int | None:
    """The integer that `text` spells canonically, or None ('007' and '1e3' stay text)."""
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if _INT64.min <= value <= _INT64.max else None


def mix64(values_N: np.ndarray) -> np.ndarray:
    """SplitMix64 finaliser (Steele et al. 2014): uint64 -> uint64, a bijection."""
    with np.errstate(over="ignore"):
        z = values_N.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def key_of(value: int | str) -> int:
    """The 64-bit key of one id."""
    if isinstance(value, str):
        number = as_integer(value)
        if number is None:
            return xxhash.xxh3_64_intdigest(value.encode(), seed=1)
        value = number
    return int(mix64(np.array([value], dtype=np.int64).view(np.uint64))[0])


def is_id(dtype: pl.DataType) -> bool:
    """Ids are integers or text; 712.0 is neither, and would silently match nothing."""
    return dtype.is_integer() or dtype in (pl.String, pl.Categorical) or isinstance(dtype, pl.Enum)


def keys_of(ids: pl.Series) -> np.ndarray:
    """The 64-bit keys, uint64 [N], of a column of ids without nulls."""
    if ids.dtype.is_integer() and not (ids.dtype == pl.UInt64 and len(ids) and ids.max() > _INT64.max):  # type: ignore[operator]
        return mix64(ids.cast(pl.Int64).to_numpy().view(np.uint64))
    uniques = ids.cast(pl.String).unique()
    table = pl.DataFrame({"id": uniques, "key": pl.Series([key_of(value) for value in uniques], dtype=pl.UInt64)})
    joined = pl.DataFrame({"id": ids.cast(pl.String)}).join(table, on="id", how="left", maintain_order="left")
    return joined["key"].to_numpy()


def hash_values(values: pl.Series, seed: int) -> np.ndarray:
    """Stable 64-bit hashes, uint64 [N], of any column's values; nulls give 0. For feature hashing."""
    texts = values.cast(pl.String)
    uniques = texts.unique().drop_nulls()
    hashes = [max(1, xxhash.xxh3_64_intdigest(value.encode(), seed=seed)) for value in uniques]
    table = pl.DataFrame({"value": uniques, "hash": pl.Series(hashes, dtype=pl.UInt64)})
    joined = pl.DataFrame({"value": texts}).join(table, on="value", how="left", maintain_order="left")
    return joined["hash"].fill_null(0).to_numpy()
