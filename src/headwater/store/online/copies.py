"""Serving copies: which of them an edition is served by, what is in them, and how a vector is read
out of them.

A record is the entity's key, then the day it was last seen (int32), its steps (one byte) and its
encoded vector. Shapes: N keys, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headwater.digests import digest_of
from headwater.embeddings.aggregate import find
from headwater.embeddings.snapshot import counted
from headwater.errors import StoreError
from headwater.store.editions import Edition, Part
from headwater.store.online.base import OnlineStore, key_bytes
from headwater.store.segments import Segment

_HEAD = np.dtype([("seen", "<i4"), ("steps", "u1")])
_CHUNK = 65_536


def copy_name(edition: Edition, segment: Segment) -> str:
    """What a segment's serving copy is called: it depends on how vectors are served, too."""
    policy = digest_of(edition.policy_config.model_dump(mode="json"))[:8]
    return f"{segment.folder.parent.name}-{segment.folder.name}-{edition.encoding.name}-{policy}"


def copies_of(edition: Edition, name: str) -> list[str]:
    """The serving copies that hold a part, newest first."""
    return [copy_name(edition, segment) for segment in reversed(edition.part(name).segments)]


def load_edition(online: OnlineStore, edition: Edition) -> None:
    """Make every part of an edition readable online."""
    for name in edition.snapshots:
        part = edition.part(name)
        nothing = np.zeros((1, _served_width(edition, part)), np.float32)
        width = _HEAD.itemsize + edition.encoding.encode(nothing).shape[1]
        for segment in part.segments:
            online.load(
                copy_name(edition, segment), segment.rows, width, _records(edition, segment)
            )


def get_served(
    online: OnlineStore, edition: Edition, name: str, keys_N: np.ndarray
) -> list[np.ndarray | None]:
    """The served vector of each key, float32 [D], or its sequence [steps, D]; None for one that is
    unknown or has expired. Raises StoreError where the store lacks what the edition knows.
    """
    part = edition.part(name)
    known_N = find(part.keys, keys_N)[1]  # the index knows who has expired
    vectors: list[np.ndarray | None] = [None] * len(keys_N)
    if not known_N.any():
        return vectors
    found = online.get(copies_of(edition, name), keys_N[known_N])
    if not found.found_N.all():
        raise StoreError(
            f"the online store has no vector of a key that the edition {edition.day} knows. Remove"
            " its folder; the last day's run refills it."
        )
    heads = np.ascontiguousarray(found.values_MB[:, : _HEAD.itemsize]).view(_HEAD)["steps"][:, 0]
    rows = edition.encoding.decode(found.values_MB[:, _HEAD.itemsize :])
    for place, steps, row in zip(np.flatnonzero(known_N), counted(heads), rows, strict=True):
        sequence = row.reshape(-1, part.space.width)
        vectors[place] = sequence[:steps] if edition.policy.sequence else row
    return vectors


def _served_width(edition: Edition, part: Part) -> int:
    return part.space.width * (edition.policy.depth if edition.policy.sequence else 1)


def _records(edition: Edition, segment: Segment) -> Iterator[tuple[bytes, bytes]]:
    for low in range(0, segment.rows, _CHUNK):
        high = min(low + _CHUNK, segment.rows)
        states, steps = segment.states(low, high), segment.steps(low, high)
        served = states if edition.policy.sequence else edition.policy.point(states, steps)
        rows = edition.encoding.encode(served)
        heads = np.empty(len(rows), _HEAD)
        heads["seen"] = segment.seen(low, high)
        heads["steps"] = steps
        values = np.hstack([heads.view(np.uint8).reshape(len(rows), _HEAD.itemsize), rows])
        width = values.shape[1]
        data = values.tobytes()
        keys = key_bytes(segment.keys_between(low, high))
        for place, key in enumerate(keys):
            yield key, data[width * place : width * (place + 1)]
