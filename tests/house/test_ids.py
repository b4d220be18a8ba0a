"""Feature hashes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import xxhash

from headwater.ids import hash_values


@pytest.mark.parametrize("seed", [0, 1, (1 << 40) + 3])
def test_hashes_are_those_of_xxhash_at_every_length(seed: int) -> None:
    generator = np.random.default_rng(seed)
    texts = [
        "".join(generator.choice(list("abxyZ09-é漢"), length))
        for length in range(25)
        for _ in range(20)
    ]
    values = pl.Series([None, *texts, None, "last"])
    wanted = [
        0 if text is None else xxhash.xxh3_64_intdigest(text.encode(), seed=seed) for text in values
    ]
    assert hash_values(values, seed).tolist() == wanted
    assert hash_values(values.slice(7, 40), seed).tolist() == wanted[7:47]


def test_values_are_hashed_as_text_whatever_their_type() -> None:
    numbers = pl.Series([5, -17, None, 10**15])
    assert hash_values(numbers, 0).tolist() == hash_values(numbers.cast(pl.String), 0).tolist()
    assert (
        hash_values(pl.Series(["b", None, "b"], dtype=pl.Categorical), 0).tolist()
        == hash_values(pl.Series(["b", None, "b"]), 0).tolist()
    )
    assert hash_values(pl.Series([], dtype=pl.String), 0).tolist() == []
    assert hash_values(pl.Series([None, None], dtype=pl.Int64), 0).tolist() == [0, 0]


def test_long_columns_hash_as_short_ones_do() -> None:
    values = pl.Series(np.arange(100_000)).cast(pl.String)
    assert (hash_values(values, 0)[70_000:70_010] == hash_values(values[70_000:70_010], 0)).all()
