"""Does it help, how much, how sure: metrics, paired bootstrap, arms, lifts and tables. Runs without
torch.
"""

from headwater.evaluation.arms import Arm, subsets
from headwater.evaluation.lift import Judged, Lift, lift_table, quick_lift
from headwater.evaluation.metrics import Metrics, metrics_of
from headwater.evaluation.table import Chart, Column, Series, Table

__all__ = [
    "Arm",
    "Chart",
    "Column",
    "Judged",
    "Lift",
    "Metrics",
    "Series",
    "Table",
    "lift_table",
    "metrics_of",
    "quick_lift",
    "subsets",
]
