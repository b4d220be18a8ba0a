"""Where work runs. An engine maps a function over tasks and does not know what it runs."""

from headwater.engine.local import Engine, LocalEngine, make_engine

__all__ = ["Engine", "LocalEngine", "make_engine"]
