"""Batches for a training loop, made ready by a thread while the last one is learnt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from headwater.events.stream import RowStream
from headwater.models.training import feature_tensors
from headwater.nn import FeatureTensors

T = TypeVar("T")


class Batch(NamedTuple):
    """Encoded features of B rows and their labels, in the stream's order of labels; NaN where there
    is none.
    """

    features: FeatureTensors
    labels_BL: Tensor


def tensors(stream: RowStream, batch_rows: int, seed: int | None) -> Iterator[Batch]:
    """One epoch of `stream`."""
    for rows in stream.batches(batch_rows, seed):
        yield Batch(feature_tensors(rows.block), torch.from_numpy(rows.labels_NL))


@contextmanager
def ahead(source: Iterable[T], depth: int = 4) -> Iterator[Iterator[T]]:
    """Iterate `source` in a thread, at most `depth` items ahead; an error there is raised here,
    when its turn comes.

        with ahead(tensors(stream, 4096, seed)) as batches:
            for batch in batches: ...

    Leaving the context, for whatever reason, ends the thread and closes `source`.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: tuple[T] | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        items: Iterator[T] | None = None
        try:
            items = iter(source)
            for item in items:
                if not put((item,)):
                    return
            put(None)
        except BaseException as error:  # raised in the loop that reads
            put(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def taken() -> Iterator[T]:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    thread = threading.Thread(target=work, name="headwater-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stop.set()
        thread.join()
