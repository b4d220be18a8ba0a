"""adsworld: a seeded, simulated world of ads with known truth."""

from headwater.events.adsworld.assumptions import SIZES, Assumptions
from headwater.events.adsworld.truth import best_reachable
from headwater.events.adsworld.writing import write_world

__all__ = ["SIZES", "Assumptions", "best_reachable", "write_world"]
