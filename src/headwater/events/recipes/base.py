"""What a recipe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """`config(data)` returns the mapping that becomes factory.yaml; `needs` are the files it expects in the folder."""

    name: str
    summary: str
    source: str
    needs: tuple[str, ...]
    config: Callable[[Path], dict[str, Any]]
