"""What a training set is asked to hold, and what that comes to in a factory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from headwater.config import FactoryConfig
from headwater.errors import ConfigError
from headwater.schema import Schema


@dataclass(frozen=True)
class Wanted:
    """What a training set holds beside times, ids, context and labels.

    `counters`: none, log or full, as in `downstream.NAME.counters`.
    """

    log: str
    embeddings: tuple[str, ...]
    features: bool
    counters: str


class RowChoices(TypedDict, total=False):
    """What may be asked for by name; `choose` says what each means where it is left out."""

    log: str | None
    consumer: str | None
    embeddings: Sequence[str] | None
    features: bool


def choose(
    config: FactoryConfig,
    *,
    log: str | None = None,
    consumer: str | None = None,
    embeddings: Sequence[str] | None = None,
    features: bool = True,
) -> Wanted:
    """What is asked for, in full.

    The rows are those of a log, or of a consumer's with the counters it reads; by default of the
    only log with tasks. By default they come with all embeddings that the log's entities have,
    entity features and counters. Raises ConfigError for a log, a consumer or an embedding that is
    not there.
    """
    if log is not None and consumer is not None:
        raise ConfigError(
            f"training set: give a log ({log!r}) or a consumer ({consumer!r}), not both."
        )
    counters = "log"
    if consumer is not None:
        if consumer not in config.downstream:
            raise ConfigError(
                f"no consumer named {consumer!r}; declared:"
                f" {', '.join(config.downstream) or 'none'}."
            )
        reads = config.downstream[consumer]
        log = config.tasks[reads.task].log
        counters = reads.counters
    if log is None:
        log = _only_log_with_tasks(config)
    if log not in config.logs:
        raise ConfigError(f"no log named {log!r}; declared: {', '.join(config.logs)}.")
    return Wanted(
        log,
        _embeddings_of(config, log, embeddings),
        features,
        counters if features else "none",
    )


def entity_of(embedding: str) -> str:
    """The entity of an embedding: of ctr_user it is user."""
    return embedding.rsplit("_", 1)[1]


def _only_log_with_tasks(config: FactoryConfig) -> str:
    """Raises ConfigError where there are several."""
    logs = list(dict.fromkeys(task.log for task in config.tasks.values()))
    if len(logs) > 1:
        raise ConfigError(
            f"training set: whose rows? Name one of the logs {', '.join(logs)}, or a consumer."
        )
    return logs[0]


def _embeddings_of(config: FactoryConfig, log: str, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The embeddings asked for, or all of a log's entities. Raises ConfigError."""
    known = [
        name
        for name in Schema.from_config(config, Path()).embedding_names()
        if entity_of(name) in config.logs[log].entities
    ]
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise ConfigError(
            f"no embedding named {', '.join(unknown)} for the rows of the log {log!r}; there are:"
            f" {', '.join(known) or 'none'}."
        )
    return tuple(known if asked is None else dict.fromkeys(asked))
