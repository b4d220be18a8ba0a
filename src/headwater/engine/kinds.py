"""The engines there are, by name."""

from __future__ import annotations

from collections.abc import Callable

from headwater.config import EngineConfig
from headwater.engine.base import Engine
from headwater.engine.local import LocalEngine
from headwater.plugins import maker

ENGINES = {"local": LocalEngine}


def engine_maker(config: EngineConfig, workers: int) -> Callable[[], Engine]:
    """What makes the engine that is declared; none is made yet. Raises ConfigError."""
    return maker("headwater.engine", ENGINES, config.kind, config.settings, workers)


def make_engine(config: EngineConfig, workers: int) -> Engine:
    """The engine that is declared, with so many workers. Raises ConfigError."""
    made: Engine = engine_maker(config, workers)()
    return made
