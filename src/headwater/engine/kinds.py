"""The engines there are, by name."""

from __future__ import annotations

from collections.abc import Callable

from headwater.config import EngineConfig
from headwater.engine.base import Engine
from headwater.engine.local import LocalEngine
from headwater.plugins import resolve

ENGINES = {"local": LocalEngine}


def make_engine(config: EngineConfig, workers: int) -> Engine:
    """The engine that is declared, with so many workers. Raises ConfigError."""
    kind: Callable[..., Engine] = resolve("headwater.engine", ENGINES, config.kind)
    return kind(workers, **config.settings)
