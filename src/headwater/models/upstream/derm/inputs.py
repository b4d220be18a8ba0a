"""An entity's side of some rows as tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from headwater.events import Examples, Histories
from headwater.events.examples import Listing
from headwater.models.training import feature_tensors, history_tensors, id_slots
from headwater.models.upstream.derm.network import TowerTensors
from headwater.models.upstream.derm.plan import DermPlan, sizes_of
from headwater.nn import HistoryTensors

OBSERVED_ROWS = 1 << 20


def tower_tensors(plan: DermPlan, rows: Examples, entity: str) -> TowerTensors:
    """What the entity's tower reads of rows of the log."""
    buckets = sizes_of(plan.config).id_buckets
    histories = _histories(plan, entity, rows.log, rows.histories)
    return TowerTensors(
        torch.from_numpy(id_slots(rows.keys[entity], buckets)),
        feature_tensors(rows.entities[entity]),
        histories,
    )


def content_tensors(
    plan: DermPlan, listing: Listing, entity: str, rows_N: np.ndarray
) -> TowerTensors:
    """What the tower reads of entities that no log has shown: all but who they are."""
    histories = _histories(
        plan,
        entity,
        plan.logs[0],
        {name: history.take(rows_N) for name, history in listing.histories.items()},
    )
    return TowerTensors(
        torch.zeros(len(rows_N), dtype=torch.int64),
        feature_tensors(listing.block.take(rows_N)),
        histories,
    )


def _histories(
    plan: DermPlan, entity: str, own: str, found: Mapping[str, Histories]
) -> dict[str, HistoryTensors]:
    buckets = sizes_of(plan.config).id_buckets
    return {
        log: history_tensors(found[entity if log == own else f"{entity}@{log}"], buckets)
        for log in plan.histories.get(entity, {})
    }


def last_rows(keys_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct keys, ascending, and the last row of each (rows are oldest first)."""
    keys, from_end = np.unique(keys_N[::-1], return_index=True)
    return keys, len(keys_N) - 1 - from_end
