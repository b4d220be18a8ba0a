"""Does it help, how much, how sure: metrics, paired bootstrap, variants, lifts and tables.

Runs without torch.
"""

from headwater.evaluation.judged import Judged
from headwater.evaluation.lift import Lift, lift_table, quick_lift
from headwater.evaluation.metrics import Metrics, metrics_of
from headwater.evaluation.sampling import are_judged, share_note
from headwater.evaluation.table import Chart, Column, Series, Table
from headwater.evaluation.variants import Variant, subsets

__all__ = [
    "Chart",
    "Column",
    "Judged",
    "Lift",
    "Metrics",
    "Series",
    "Table",
    "Variant",
    "are_judged",
    "lift_table",
    "metrics_of",
    "quick_lift",
    "share_note",
    "subsets",
]
