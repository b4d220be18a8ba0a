"""What happens to editions after they are written: going live, coming back, growing old, being
erased. Runs without torch.
"""

from headwater.lifecycle.align import align_lane
from headwater.lifecycle.erase import Tombstones, erase, finish_erasures
from headwater.lifecycle.monitoring import evidence_of, monitor_of
from headwater.lifecycle.rebuild import rebuild
from headwater.lifecycle.retention import compact_where_due, retire
from headwater.lifecycle.switch import (
    mirror_reports,
    pin,
    promote,
    rollback,
    serve,
    switch_to,
    unpin,
)

__all__ = [
    "Tombstones",
    "align_lane",
    "compact_where_due",
    "erase",
    "evidence_of",
    "finish_erasures",
    "mirror_reports",
    "monitor_of",
    "pin",
    "promote",
    "rebuild",
    "retire",
    "rollback",
    "serve",
    "switch_to",
    "unpin",
]
