"""How daily snapshots become the published one (DERM, section on aggregation)."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from headwater.config import EmaPolicy, LatestPolicy
from headwater.embeddings.snapshot import Snapshot, day_number, same_space


def blend(policy: EmaPolicy | LatestPolicy, before_ND: np.ndarray, today_ND: np.ndarray, age_days: int) -> np.ndarray:
    """One step of the policy for entities seen before and today, in float32; `age_days` is that of the space.

    ema: E(t) = w E(t-1) + (1 - w) daily(t), written E(t-1) + (1 - w)(daily - E(t-1)) so that a constant stays one.
    """
    if isinstance(policy, LatestPolicy) or age_days < policy.warm_up_days:
        return today_ND
    return before_ND + np.float32(1 - policy.weight) * (today_ND - before_ND)


def aggregate(
    before: Snapshot | None, today: Snapshot, policy: EmaPolicy | LatestPolicy, day: dt.date, expire_days: int
) -> Snapshot:
    """Yesterday's published snapshot and today's fresh vectors -> today's published snapshot.

    First sight: the fresh vector. Not seen today: carried forward unchanged. Not seen for more than `expire_days`:
    dropped. Raises SpaceMismatch.
    """
    if before is None:
        return Snapshot(today.space, today.entity, day, today.keys_N, _finish(policy, today.vectors_ND), today.seen_N, today.ids)
    same_space(before, today)
    rows, known = before.find(today.keys_N)
    vectors = today.vectors_ND.copy()
    age_days = (day - today.space.opened).days
    vectors[known] = blend(policy, before.vectors_ND[rows[known]], today.vectors_ND[known], age_days)
    carried = np.ones(len(before), bool)
    carried[rows[known]] = False
    carried &= day_number(day) - before.seen_N <= expire_days
    keys = np.concatenate([before.keys_N[carried], today.keys_N])
    order = np.argsort(keys, kind="stable")
    return Snapshot(
        today.space, today.entity, day,
        keys[order],
        np.concatenate([before.vectors_ND[carried], _finish(policy, vectors)])[order],
        np.concatenate([before.seen_N[carried], today.seen_N])[order],
        _append(before, carried, today)[order],
    )  # fmt: skip


def _append(before: Snapshot, carried: np.ndarray, today: Snapshot) -> pl.Series:
    kept = before.ids.filter(pl.Series(carried))
    if kept.dtype == today.ids.dtype:
        return kept.append(today.ids)
    return kept.cast(pl.String).append(today.ids.cast(pl.String))


def _finish(policy: EmaPolicy | LatestPolicy, vectors_ND: np.ndarray) -> np.ndarray:
    if not policy.renormalize:
        return vectors_ND
    return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), np.float32(1e-12))
