"""Batches for a training loop, made ready by a thread while the last one is learnt.

Shape suffixes: B rows, L labels.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from headwater.events.stream import RowStream
from headwater.models.training import feature_tensors
from headwater.nn import FeatureTensors

T = TypeVar("T")


class Batch(NamedTuple):
    """Encoded features of B rows, and their labels in the stream's order (NaN: none)."""

    features: FeatureTensors
    labels_BL: Tensor


def tensors(stream: RowStream, batch_rows: int, seed: int | None) -> Iterator[Batch]:
    """One epoch of `stream`."""
    for rows in stream.batches(batch_rows, seed):
        yield Batch(feature_tensors(rows.block), torch.from_numpy(rows.labels_NL))


@contextmanager
def ahead(source: Iterable[T], depth: int = 4) -> Iterator[Iterator[T]]:
    """Iterate `source` in a thread, at most `depth` items ahead.

        with ahead(tensors(stream, 4096, seed)) as batches:
            for batch in batches: ...

    An error of `source` is raised here, when its turn comes. Leaving the context, for whatever
    reason, ends the thread and closes `source`.
    """
    handover: _Handover[T] = _Handover(depth)
    thread = threading.Thread(
        target=handover.fill, args=(source,), name="headwater-ahead", daemon=True
    )
    thread.start()
    try:
        yield handover.taken()
    finally:
        handover.stop.set()
        thread.join()


class _Handover(Generic[T]):
    """Items on their way from one thread to another: (item,), an error, or None at the end."""

    def __init__(self, depth: int) -> None:
        self.ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
        self.stop = threading.Event()

    def fill(self, source: Iterable[T]) -> None:
        """What the thread does: put every item until the end, an error, or `stop`."""
        items: Iterator[T] | None = None
        try:
            items = iter(source)
            for item in items:
                if not self._put((item,)):
                    return
            self._put(None)
        except BaseException as error:  # raised in the loop that reads
            self._put(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def taken(self) -> Iterator[T]:
        """The items as they come. Raises what the source raised."""
        while (item := self.ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        """False where nobody reads any more."""
        while not self.stop.is_set():
            try:
                self.ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
