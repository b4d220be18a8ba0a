"""The offline tables that judged predictions give: lifts (T2, T3), slices, calibration; and those
kept from backtests. No torch.
"""

from headwater.studies.calibration import calibration_table
from headwater.studies.lifts import LIFT_COLUMNS, finding, lift_chart, lifts_of
from headwater.studies.making import (
    FROM_JUDGEMENTS,
    audited,
    judged_table,
    load_table,
    pooled,
    report_tables,
)
from headwater.studies.saved import keep_table, kept_tables, state_of
from headwater.studies.slices import slice_table

__all__ = [
    "FROM_JUDGEMENTS",
    "LIFT_COLUMNS",
    "audited",
    "calibration_table",
    "finding",
    "judged_table",
    "keep_table",
    "kept_tables",
    "lift_chart",
    "lifts_of",
    "load_table",
    "pooled",
    "report_tables",
    "slice_table",
    "state_of",
]
