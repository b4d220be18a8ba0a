"""Digests: equal values have equal names, whatever wrote them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)


def digest_of(*parts: Any) -> str:
    """SHA-256, first 32 hex digits, of values in their order.

    A value is an array, bytes, or JSON-like. An array counts with its type and shape.
    """
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            sha.update(f"{part.dtype.str}{part.shape}".encode())
            sha.update(np.ascontiguousarray(part).view(np.uint8).data if part.size else b"")
        elif isinstance(part, bytes):
            sha.update(part)
        else:
            sha.update(canonical_json(part).encode())
        sha.update(b"\x00")
    return sha.hexdigest()[:32]
