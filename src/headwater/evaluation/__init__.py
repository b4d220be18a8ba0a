"""Does it help, how much, how sure: metrics, intervals, variants, lifts, verdicts and tables.

Runs without torch.
"""

from headwater.evaluation.influence import Influence, Metric
from headwater.evaluation.interval import Interval, interval_of
from headwater.evaluation.judged import Judged
from headwater.evaluation.lift import Lift, lift_table
from headwater.evaluation.metrics import Metrics, metrics_of
from headwater.evaluation.sampling import are_judged, share_note
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.evaluation.variants import Variant, subsets

__all__ = [
    "Chart",
    "Column",
    "Influence",
    "Interval",
    "Judged",
    "Lift",
    "Metric",
    "Metrics",
    "Series",
    "Table",
    "Variant",
    "are_judged",
    "interval_of",
    "lift_table",
    "metrics_of",
    "share_note",
    "subsets",
]
