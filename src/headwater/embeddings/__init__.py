"""Vectors as values: spaces, snapshots, how days become one, and what an edition must satisfy."""

from headwater.embeddings.aggregate import aggregate
from headwater.embeddings.gates import GateResult, check_snapshot
from headwater.embeddings.snapshot import Snapshot, Space, same_space
from headwater.embeddings.view import Served, View

__all__ = ["GateResult", "Served", "Snapshot", "Space", "View", "aggregate", "check_snapshot", "same_space"]
