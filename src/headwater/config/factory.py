"""The whole of a factory.yaml, and how one is read: strict, frozen, every fault at once with its
path.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from headwater.config.base import Strict, shaping
from headwater.config.data import FEATURE_KINDS, EntityConfig, HistoryConfig, LogConfig, TaskConfig
from headwater.config.models import (
    UPSTREAM_TAGS,
    DownstreamConfig,
    RetrievalConfig,
    UpstreamField,
)
from headwater.config.policies import PolicyConfig
from headwater.config.references import broken_references, known_with_the_row
from headwater.config.running import (
    AUTO_GROUP,
    USER_DAY,
    USER_TIME,
    EngineConfig,
    EvaluationConfig,
    GateConfig,
    IndexConfig,
    LaneConfig,
    LifecycleConfig,
    StoreConfig,
    TrackingConfig,
    kind_alone,
)
from headwater.config.variants import default_variants, with_default_variants
from headwater.digests import digest_of
from headwater.errors import ConfigError

# The sections that shape vectors and scores, but for those of their settings that are RUNNING.
SHAPING = (
    "seed",
    "time_zone",
    "logs",
    "entities",
    "histories",
    "tasks",
    "upstreams",
    "lifecycle",
    "downstream",
)


class FactoryConfig(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    warehouse: str = "./warehouse"
    seed: int = 0
    time_zone: str = "UTC"
    workers: int = Field(
        2,
        ge=0,
        le=256,
        description="worker processes of one thread each; 0 runs all in this process",
    )
    engine: Annotated[EngineConfig, BeforeValidator(kind_alone)] = EngineConfig()
    logs: dict[str, LogConfig] = Field(min_length=1)
    entities: dict[str, EntityConfig] = Field(min_length=1)
    histories: dict[str, HistoryConfig] = Field(default_factory=dict)
    tasks: dict[str, TaskConfig] = Field(min_length=1)
    upstreams: dict[str, UpstreamField] = Field(min_length=1)
    lifecycle: LifecycleConfig = LifecycleConfig()
    gates: GateConfig = GateConfig()
    store: StoreConfig = StoreConfig()
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    downstream: dict[str, DownstreamConfig] = Field(default_factory=dict)
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig | None = None
    lanes: dict[str, LaneConfig] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _default_variants(cls, raw: Any) -> Any:
        return with_default_variants(raw)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(
                f"should be an IANA time zone such as Asia/Shanghai, received {value!r}"
            )
        return value

    @model_validator(mode="after")
    def _references(self) -> FactoryConfig:
        problems = list(broken_references(self.model_dump()))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def for_lane(self, lane: str) -> FactoryConfig:
        """The factory as one of its lanes runs it. Raises ConfigError where there is no such
        lane.
        """
        if lane == "main":
            return self.model_copy(update={"lanes": {}})
        if lane not in self.lanes:
            raise ConfigError(
                f"no lane named {lane!r}; declared: {', '.join(['main', *self.lanes])}. Declare it"
                " under `lanes` in factory.yaml."
            )
        spec, raw = self.lanes[lane], self.model_dump(exclude_unset=True, exclude={"lanes"})
        usual = default_variants(raw)  # a lane of other upstreams has others
        for ranker in raw.get("downstream", {}).values():
            if tuple(ranker["variants"]) == usual:
                del ranker["variants"]
        for name, changes in spec.upstreams.items():
            raw["upstreams"][name] = {**raw["upstreams"].get(name, {}), **changes}
        return parse_config(raw, f"lanes.{lane}")

    def open_lanes(self) -> tuple[str, ...]:
        """The lanes that a run runs, `main` first."""
        return tuple(
            name
            for name in dict.fromkeys(("main", *self.lanes))
            if not (name in self.lanes and self.lanes[name].closed)
        )

    def retrieval_upstream(self) -> str:
        """In whose space items are retrieved."""
        return self.retrieval.upstream or next(iter(self.upstreams))

    def retrieval_task(self) -> str:
        """What retrieval is for: by default the first task, of its upstream before others, whose
        label is known with the row. Raises ConfigError.
        """
        raw = self.model_dump()
        listed = (*self.upstreams[self.retrieval_upstream()].tasks, *self.tasks)
        found = self.retrieval.task or next(
            (task for task in listed if known_with_the_row(raw, task)), None
        )
        if found is None:
            raise ConfigError(
                "retrieval: every task's labels arrive late or in another log; declare one whose"
                " label is a column of its rows."
            )
        return found

    def group_of(self, log: str) -> str:
        """Within what the rows of a log compete: AUTO_GROUP, USER_TIME, USER_DAY or a column.

        A column that stands alone is one of the logs that rankers are judged on; other logs, and
        those that a mapping does not name, have the default.
        """
        group = self.evaluation.group
        if not isinstance(group, str):
            return group.get(log, AUTO_GROUP)
        judged = {self.tasks[ranker.task].log for ranker in self.downstream.values()}
        named = group not in (AUTO_GROUP, USER_TIME, USER_DAY)
        return AUTO_GROUP if named and log not in judged else group

    def data_digest(self) -> str:
        """Of all that shapes examples, but for the data itself and where it lies."""
        return digest_of(
            self.model_dump(
                mode="json", include={"time_zone", "logs", "entities", "histories", "tasks"}
            ),
            {name: spec.tasks for name, spec in self.upstreams.items()},
        )

    def digest(self) -> str:
        """Of all that shapes a vector or a score. Where things lie, how many workers make them, and
        what is refused, do not; nor does a section that is not among SHAPING.
        """
        kept = {name: shaping(getattr(self, name)) for name in SHAPING}
        return digest_of(kept | {"encoding": self.store.encoding})


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML silently keeps the last of two equal keys; a config must not."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.YAMLError(
                f"the key {key!r} is written twice, line {node.start_mark.line + 1}"
            )
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_config(raw: Any, source: str = "factory.yaml") -> FactoryConfig:
    """Validate a mapping. Raises ConfigError with every fault, each as 'path: problem, what was
    received'.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(
            f"{source}: expected a mapping at the top, received {type(raw).__name__}."
        )
    raw = with_default_variants(raw)
    try:
        return FactoryConfig.model_validate(raw)
    except ValidationError as error:
        described = [_describe(item) for item in error.errors() if item["loc"]]
        problems = list(dict.fromkeys(itertools.chain(described, broken_references(raw))))
        head = f"{source}: {len(problems)} problem{'s' * (len(problems) != 1)}:"
        raise ConfigError(head, problems) from None


def _describe(item: Any) -> str:
    path = ".".join(
        str(part) for part in item["loc"] if part not in (*FEATURE_KINDS, *UPSTREAM_TAGS)
    )
    received = item.get("input")
    if item["type"] == "missing":
        return f"{path}: required, and not there"
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; remove it or correct its spelling"
    text = repr(received)
    return f"{path}: {item['msg']}; received {text if len(text) < 80 else text[:77] + '...'}"


def parse_policy(text: str) -> PolicyConfig:
    """A policy as factory.yaml has it, such as `{kind: mean, k: 7}`. Raises ConfigError."""
    try:
        return LifecycleConfig.model_validate({"policy": yaml.safe_load(text)}).policy
    except ValidationError as error:
        raise ConfigError(
            f"policy {text!r}:", [_describe(item) for item in error.errors()]
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"policy {text!r}: not readable as YAML: {error}") from None


def load_config(path: Path) -> FactoryConfig:
    """Read and validate a `factory.yaml`. Raises ConfigError."""
    try:
        raw = yaml.load(path.read_text(), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file. `headwater init RECIPE --data DIR --out DIR` writes one, or"
            " name yours with --factory."
        ) from None
    except (
        OSError,
        UnicodeDecodeError,
        TypeError,
        yaml.YAMLError,
    ) as error:  # TypeError: a key that is no text
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    return parse_config(raw, str(path))


def warehouse_of(config: FactoryConfig, root: Path) -> Path:
    if "://" in config.warehouse:
        raise ConfigError(
            f"warehouse: {config.warehouse!r} is a URL; this version keeps its warehouse in a local"
            " folder."
        )
    return (root / config.warehouse).resolve()
