"""What happens to editions after they are written: going live, coming back, growing old, being
erased. Runs without torch.
"""

from headwater.lifecycle.align import align_lane
from headwater.lifecycle.erase import erase, finish_erasures
from headwater.lifecycle.rebuild import rebuild
from headwater.lifecycle.retention import compact_where_due, retire
from headwater.lifecycle.serve import serve
from headwater.lifecycle.switch import pin, promote, rollback, switch_to, unpin

__all__ = [
    "align_lane",
    "compact_where_due",
    "erase",
    "finish_erasures",
    "pin",
    "promote",
    "rebuild",
    "retire",
    "rollback",
    "serve",
    "switch_to",
    "unpin",
]
