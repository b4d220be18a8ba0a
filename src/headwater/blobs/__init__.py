"""Where a warehouse's bytes lie: the paths of everything in it, and the stores that hold them."""

from headwater.blobs.base import Blobs, expect_key
from headwater.blobs.layout import MAIN, Layout
from headwater.blobs.local import LocalBlobs
from headwater.blobs.memory import MemoryBlobs

__all__ = [
    "MAIN",
    "Blobs",
    "Layout",
    "LocalBlobs",
    "MemoryBlobs",
    "expect_key",
]
