"""The sizes of what models read of a log's rows, from what is declared alone."""

from __future__ import annotations

from headwater.events.blocks import BlockSpec
from headwater.schema import Schema


def block_specs(schema: Schema, log: str) -> dict[str, BlockSpec]:
    """Sizes of the blocks of a log's examples, by entity, and under `context` and `counters`."""
    entities = schema.logs[log].entities
    histories = schema.histories_of(log).values()
    found = {name: BlockSpec.of(schema.entities[name].features) for name in entities}
    counted = sum(2 + len(history.actions) for history in histories)
    pairs = sum(len(history.pairs) * (2 + len(history.actions)) for history in histories)
    context = BlockSpec.of(schema.logs[log].features, context=True, pairs=pairs)
    return found | {"counters": BlockSpec((), (), counted, ()), "context": context}
