"""Vectors as values: spaces, snapshots, how days become one, and what an edition must satisfy."""

from headwater.embeddings.policies import POLICIES, Policy, make_policy
from headwater.embeddings.snapshot import Snapshot, Space, one_space, same_space
from headwater.embeddings.view import NEVER_SEEN, Served, View

__all__ = [
    "NEVER_SEEN",
    "POLICIES",
    "Policy",
    "Served",
    "Snapshot",
    "Space",
    "View",
    "make_policy",
    "one_space",
    "same_space",
]
