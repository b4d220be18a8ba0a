"""What makes a DERM model, and so its space, but no data. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from headwater.config import UpstreamConfig, shaping
from headwater.digests import digest_of
from headwater.events import BlockSpec
from headwater.events.specs import block_specs
from headwater.models.upstream.base import Declared

FORMAT = 4  # part of the signature; raised when the network's layout changes


@dataclass(frozen=True)
class Sizes:
    """Widths of a DERM model. `tokens * token_width` is the width of its vectors."""

    token_width: int
    tokens: int
    hidden: int
    batch_rows: int
    id_buckets: int

    @property
    def width(self) -> int:
        return self.tokens * self.token_width


class Past(NamedTuple):
    """A history that a tower reads: the entity whose ids it holds, and how many actions are told of
    each event.
    """

    of: str
    actions: int


def sizes_of(config: UpstreamConfig) -> Sizes:
    """The size dial's values, each replaced by what the config sets itself."""
    return Sizes(**config.derived())


@dataclass(frozen=True)
class DermPlan:
    """All that makes an upstream model, and so its space, but no data. `specs` are its entities'
    blocks, `contexts` its logs'; `histories` are those of each entity by log, `tasks` those of each
    log; `given` names the task that a task is given. `meaning` is a digest of what the numbers in
    all of these stand for: features, histories and labels as declared.
    """

    name: str
    config: UpstreamConfig
    specs: Mapping[str, BlockSpec]
    contexts: Mapping[str, BlockSpec]
    histories: Mapping[str, Mapping[str, Past]]
    tasks: Mapping[str, tuple[str, ...]]
    given: Mapping[str, str]
    seed: int
    meaning: str = ""

    @classmethod
    def of(cls, name: str, config: UpstreamConfig, declared: Declared) -> DermPlan:
        """The plan of the upstream `name`, whose towers and overtowers read what is declared."""
        schema = declared.schema
        logs, entities = schema.upstream_logs[name], schema.upstream_entities[name]
        specs = {log: block_specs(schema, log) for log in logs}
        past = {log: schema.histories_of(log) for log in logs}
        histories = {
            entity: {
                log: Past(found[entity].of, len(found[entity].actions))
                for log, found in past.items()
                if entity in found
            }
            for entity in entities
        }
        tasks = [schema.tasks[task] for task in config.tasks]
        return cls(
            name=name,
            config=config,
            specs={entity: specs[logs[0]][entity] for entity in entities},
            contexts={log: specs[log]["context"] for log in logs},
            histories=histories,
            tasks=declared.by_log(config.tasks),
            given={task.name: task.given.name for task in tasks if task.given is not None},
            seed=declared.seed,
            meaning=declared.meaning,
        )

    @property
    def entities(self) -> tuple[str, ...]:
        return tuple(self.specs)

    @property
    def logs(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    @property
    def signature(self) -> str:
        specs = [
            [(name, asdict(spec)) for name, spec in part.items()]
            for part in (self.specs, self.contexts)
        ]
        settings = shaping(self.config)
        for name in ("kind", "fast"):
            settings.pop(name)
        pasts = {
            entity: {log: list(past) for log, past in of_logs.items()}
            for entity, of_logs in self.histories.items()
        }
        return digest_of(
            FORMAT,
            self.name,
            settings,
            specs,
            self.entities,
            pasts,
            dict(self.tasks),
            self.seed,
            self.meaning,
        )
