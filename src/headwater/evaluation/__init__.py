"""Does it help, how much, how sure: metrics, paired bootstrap, arms and lifts. Runs without torch."""

from headwater.evaluation.arms import Arm
from headwater.evaluation.lift import Judged, Lift, lift_table
from headwater.evaluation.metrics import Metrics, metrics_of

__all__ = ["Arm", "Judged", "Lift", "Metrics", "lift_table", "metrics_of"]
