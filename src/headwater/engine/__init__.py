"""Where work runs. An engine maps a function over jobs and does not know what it runs."""

from headwater.engine.base import ONE_CORE, Engine, Need
from headwater.engine.local import LocalEngine, make_engine

__all__ = ["ONE_CORE", "Engine", "LocalEngine", "Need", "make_engine"]
