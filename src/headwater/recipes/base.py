"""What a recipe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """A factory.yaml for a known data set.

    `config(data, written)` returns the mapping that becomes factory.yaml: the data lies in `data`,
    and the config calls that folder `written`. `needs` are the files expected in it.
    `prepare(data, out)` writes what the config reads beside itself, in `out`.
    """

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    config: Callable[[Path, Path], dict[str, Any]]
    prepare: Callable[[Path, Path], None] | None = None
