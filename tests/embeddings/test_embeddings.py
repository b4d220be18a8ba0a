"""Snapshots and spaces. Policies: test_policies.py; gates: test_gates.py."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from headwater.embeddings import Snapshot, Space, same_space
from headwater.embeddings.snapshot import day_number
from headwater.errors import SnapshotError, SpaceMismatch

D0 = dt.date(2025, 1, 1)
SPACE = Space("ctr", "a" * 32, 2, D0)


def snap(
    vectors: dict[int, list[float]],
    day: dt.date = D0,
    space: Space = SPACE,
    seen: dt.date | None = None,
) -> Snapshot:
    keys = sorted(vectors)
    return Snapshot(
        space,
        "user",
        day,
        np.array(keys, np.uint64),
        np.array([vectors[k] for k in keys], np.float32).reshape(-1, space.width),
        np.full(len(keys), day_number(seen or day), np.int32),
        pl.Series(keys, dtype=pl.Int64),
    )


def after(n: int) -> dt.date:
    return D0 + dt.timedelta(days=n)


def test_spaces_never_mix() -> None:
    other = Space("ctr", "b" * 32, 2, D0)
    with pytest.raises(SpaceMismatch, match="2 spaces may not meet"):
        same_space(snap({1: [1, 0]}), snap({1: [1, 0]}, after(1), other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys_N": np.array([2, 1], np.uint64)}, "ascending and unique"),
        ({"keys_N": np.array([1, 1], np.uint64)}, "ascending and unique"),
        ({"keys_N": np.array([1, 2], np.int64)}, "should be uint64"),
        (
            {"vectors_ND": np.array([[1, np.nan], [0, 1]], np.float32)},
            "1 of 2 vectors are not finite",
        ),
        ({"vectors_ND": np.zeros((2, 3), np.float32)}, r"should be float32 \(2, 2\)"),
        ({"seen_N": np.full(2, day_number(after(1)), np.int32)}, "later day"),
    ],
)
def test_a_snapshot_is_valid_from_birth(change, message) -> None:
    parts = {
        "keys_N": np.array([1, 2], np.uint64),
        "vectors_ND": np.eye(2, dtype=np.float32),
        "seen_N": np.full(2, day_number(D0), np.int32),
    }
    with pytest.raises(SnapshotError, match=message):
        Snapshot(SPACE, "user", D0, ids=pl.Series([1, 2]), **(parts | change))


def test_a_snapshot_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        snap({1: [1, 0]}).vectors_ND[0, 0] = 5
