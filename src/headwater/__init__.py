"""Headwater: an embedding factory for ads and recommendation. `from headwater import Factory`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headwater.version import __version__

__all__ = ["Factory", "Reader", "__version__"]

if TYPE_CHECKING:
    from headwater.factory import Factory
    from headwater.serving.reader import Reader


def __getattr__(name: str) -> Any:
    """`Factory` trains and so imports torch, `Reader` does not: each comes when it is asked for."""
    if name == "Factory":
        from headwater.factory import Factory

        return Factory
    if name == "Reader":
        from headwater.serving.reader import Reader

        return Reader
    raise AttributeError(f"module 'headwater' has no attribute {name!r}")
