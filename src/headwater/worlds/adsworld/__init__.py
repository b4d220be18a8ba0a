"""adsworld: a seeded, simulated world of ads with known truth."""

from headwater.worlds.adsworld.assumptions import SIZES, Assumptions, Churn
from headwater.worlds.adsworld.truth import best_reachable
from headwater.worlds.adsworld.writing import write_world

__all__ = ["SIZES", "Assumptions", "Churn", "best_reachable", "write_world"]
