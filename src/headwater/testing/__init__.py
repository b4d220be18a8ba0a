"""Contract suites: one for each seam, which anybody can run on a class of their own.

    from headwater.testing import IndexContract

    class TestMyIndex(IndexContract):
        def make(self, space, vectors_ND): return MyIndex.build(space, vectors_ND)

`docs/seams.md` says for each seam what its suite asks for. pytest is needed here and nowhere else:
`pip install 'headwater[testing]'`. Suites are imported when they are asked for, so that those of an
index or a store need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "headwater.testing needs pytest, which is not installed: pip install 'headwater[testing]'"
    ) from error

if TYPE_CHECKING:
    from headwater.testing.blobs import BlobsContract
    from headwater.testing.blocks import BlockContract
    from headwater.testing.engines import EngineContract
    from headwater.testing.heads import HeadContract
    from headwater.testing.indexes import IndexContract
    from headwater.testing.online_stores import OnlineStoreContract
    from headwater.testing.policies import PolicyContract
    from headwater.testing.rankers import RankerContract
    from headwater.testing.trackers import TrackerContract
    from headwater.testing.upstreams import UpstreamContract

SUITES = {
    "BlobsContract": "blobs",
    "BlockContract": "blocks",
    "EngineContract": "engines",
    "HeadContract": "heads",
    "IndexContract": "indexes",
    "OnlineStoreContract": "online_stores",
    "PolicyContract": "policies",
    "RankerContract": "rankers",
    "TrackerContract": "trackers",
    "UpstreamContract": "upstreams",
}

# a failing assertion of a suite shows its values, as one in a test file does
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in SUITES.values()))

__all__ = [
    "BlobsContract",
    "BlockContract",
    "EngineContract",
    "HeadContract",
    "IndexContract",
    "OnlineStoreContract",
    "PolicyContract",
    "RankerContract",
    "TrackerContract",
    "UpstreamContract",
]


def __getattr__(name: str) -> Any:
    if name not in SUITES:
        raise AttributeError(f"headwater.testing has no suite {name!r}: {', '.join(SUITES)}.")
    return getattr(import_module(f"{__name__}.{SUITES[name]}"), name)
