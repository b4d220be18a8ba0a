"""Arm: one variant of a downstream model in a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headwater.config import SHUFFLED
from headwater.errors import ConfigError


@dataclass(frozen=True)
class Arm:
    """Which embeddings it reads (none of them for `none`), and whether each day they are dealt out to the wrong entities."""

    name: str
    embeddings: tuple[str, ...]
    shuffled: bool = False

    @classmethod
    def parse(cls, name: str, known: Sequence[str]) -> Arm:
        """`none`, `all`, `shuffled` (all, as a control), or names joined by `+`. Raises ConfigError."""
        if name == "none":
            return cls(name, ())
        if name in ("all", SHUFFLED):
            return cls(name, tuple(known), name == SHUFFLED)
        parts = tuple(name.split("+"))
        unknown = [part for part in parts if part not in known]
        if unknown:
            raise ConfigError(f"arm {name!r}: no embedding named {', '.join(unknown)}; there are: {', '.join(known)}.")
        return cls(name, parts)
