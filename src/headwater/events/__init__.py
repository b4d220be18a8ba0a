"""From raw logs to examples: days cut, rows cleaned, features encoded.

Histories and labels are those that were known then.
"""

from headwater.events.blocks import Block, BlockSpec
from headwater.events.caching import ExampleCache
from headwater.events.examples import Examples
from headwater.events.groups import Groups, groups_of
from headwater.events.histories import Histories
from headwater.events.log import EventDay, EventLog
from headwater.events.reader import ExampleReader

__all__ = [
    "Block",
    "BlockSpec",
    "EventDay",
    "EventLog",
    "ExampleCache",
    "ExampleReader",
    "Examples",
    "Groups",
    "Histories",
    "groups_of",
]
