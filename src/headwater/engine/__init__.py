"""Where work runs. An engine maps a function over jobs and does not know what it runs."""

from headwater.engine.base import ONE_CORE, Engine, Need
from headwater.engine.kinds import ENGINES, engine_maker, make_engine
from headwater.engine.local import LocalEngine

__all__ = ["ENGINES", "ONE_CORE", "Engine", "LocalEngine", "Need", "engine_maker", "make_engine"]
