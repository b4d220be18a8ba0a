"""From raw logs to examples: days cut, rows cleaned, features encoded, histories and labels as they
were known.
"""

from headwater.events.blocks import Block, BlockSpec
from headwater.events.caching import ExampleCache
from headwater.events.examples import ExampleReader, Examples
from headwater.events.histories import Histories
from headwater.events.log import EventDay, EventLog

__all__ = [
    "Block",
    "BlockSpec",
    "EventDay",
    "EventLog",
    "ExampleCache",
    "ExampleReader",
    "Examples",
    "Histories",
]
