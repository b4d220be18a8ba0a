"""Our own kinds of upstreams keep to the contract."""

from __future__ import annotations

from typing import Any

from headwater.testing import UpstreamContract

SMALL = {"size": "tiny", "id_buckets": 50, "batch_rows": 16}


class TestDerm(UpstreamContract):
    def settings(self) -> dict[str, Any]:
        return SMALL


class TestDermWithContent(UpstreamContract):
    def settings(self) -> dict[str, Any]:
        return SMALL | {"content_vectors": ["item"]}
