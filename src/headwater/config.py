"""`factory.yaml`: what a factory is made of. Strict, frozen, and every fault is reported at once with its path."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from headwater.errors import ConfigError
from headwater.files import digest_of


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each may be named once")
    return values


# ---- feature kinds -------------------------------------------------------------------------------------------------


Reading = Literal["cycles", "age", "recency"]


class Categorical(Strict):
    """One value out of many: hashed into `buckets`, looked up in `values` (all others share one slot), or in a `vocabulary` of so many that
    each model learns day by day: what came at least `min_count` times on a past day gets a slot, all else shares one."""

    kind: Literal["categorical"] = "categorical"
    buckets: int = Field(1000, ge=1, le=1 << 27)
    values: tuple[str | int, ...] | None = None
    vocabulary: int | None = Field(None, ge=1, le=1 << 27)
    min_count: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Categorical:
        if self.values is not None and self.vocabulary is not None:
            raise ValueError("values and vocabulary are two ways to give values their slots; set one of them")
        return self


class MultiCategorical(Strict):
    """Several values in one cell (a list, or text split at `separator`); the first `length` are read."""

    kind: Literal["multi_categorical"] = "multi_categorical"
    buckets: int = Field(1000, ge=1, le=1 << 27)
    separator: str = Field(",", min_length=1)
    length: int = Field(8, ge=1, le=256)


class Numeric(Strict):
    """A number; `log` takes sign(x) log(1 + |x|). Centred and scaled by what past days have shown or, by `quantile`, read as its rank
    among what they have shown."""

    kind: Literal["numeric"] = "numeric"
    log: bool = True
    scale: Literal["standard", "quantile"] = "standard"


class Timestamp(Strict):
    """A moment, `read` as the hour and weekday it fell on (`cycles`), as whole days from it to the beginning of the event's day (`age`), or as
    the time from it to the event (`recency`). By default, of an entity its age, of a log cycles. A later moment counts as missing."""

    kind: Literal["timestamp"] = "timestamp"
    unit: Literal["s", "ms", "us", "ns"] = "ms"
    read: Annotated[tuple[Reading, ...], AfterValidator(_distinct)] | None = Field(None, min_length=1)


class Vector(Strict):
    """A pretrained vector of `width` numbers."""

    kind: Literal["vector"] = "vector"
    width: int = Field(ge=1, le=8192)


Feature = Categorical | MultiCategorical | Numeric | Timestamp | Vector
FEATURE_KINDS = ("categorical", "multi_categorical", "numeric", "timestamp", "vector")


def _expand_shorthand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


FeatureField = Annotated[
    Annotated[Feature, Field(discriminator="kind")],
    BeforeValidator(_expand_shorthand),
]
Features = dict[str, FeatureField]

# ---- logs, entities, tasks -----------------------------------------------------------------------------------------


class LogConfig(Strict):
    """A table of timed events."""

    path: str | tuple[str, ...]
    time: str
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    entities: dict[str, str] = Field(default_factory=dict)
    features: Features = Field(default_factory=dict)
    event_id: str | None = None
    max_reject_share: float = Field(0.05, ge=0, le=1)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


class EntityConfig(Strict):
    """`as_of`: the table holds nothing that was not known at the end of that day (docs/leaks.md)."""

    table: str | tuple[str, ...] | None = None
    key: str | None = None
    as_of: dt.date | None = None
    features: Features = Field(default_factory=dict)

    @property
    def paths(self) -> tuple[str, ...]:
        return () if self.table is None else (self.table,) if isinstance(self.table, str) else self.table


class HistorySeed(Strict):
    """Events from before the first day: one row per entity, `ids` oldest first, `actions` naming the subset acted on. `as_of`: none of
    them is later than the end of that day."""

    table: str
    key: str
    as_of: dt.date | None = None
    ids: str
    actions: dict[str, str] = Field(default_factory=dict)


class HistoryConfig(Strict):
    """What an entity met before an event: the last `length` rows of `log` (only where `where` is 1) of `days` days.

    Read by the models of that log. `entity` is the history's name unless it is set, so that one entity can have several. `pairs` are
    features of `of` (or `id`, the entity itself) by which a row's own `of` is compared with what the history holds: how many earlier events
    shared it, with which actions, and how long ago. These are features of the pair, so they join the row's context.
    """

    entity: str | None = None
    of: str
    log: str
    where: str | None = None
    actions: tuple[str, ...] = Field((), max_length=8)
    pairs: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    length: int = Field(50, ge=1, le=1000)
    days: int = Field(30, ge=1)
    seed: HistorySeed | None = None


class JoinedLabel(Strict):
    """A label that arrives in another log: 1 for the rows whose `key` is found there in time."""

    log: str
    key: str


class TaskConfig(Strict):
    log: str
    label: str | Annotated[tuple[str, ...], Field(min_length=1)] | JoinedLabel = Field(description="a column, several (1 where any is), or another log")
    given: str | None = None
    matures_days: int = Field(0, ge=0, le=90)


# ---- models --------------------------------------------------------------------------------------------------------


class DhenConfig(Strict):
    """The interaction layers of a model's towers and overtower: blocks side by side, layer upon layer. A block is one of ours (docs/upstream.md),
    or another package's as `package.module:Class`."""

    layers: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field((("masknet", "mlp"), ("transformer", "mlp")), min_length=1)
    ensemble: Literal["sum", "concat", "weighted"] = "sum"
    shortcut: Literal["identity", "learned"] = Field("identity", description="a change of the number of tokens is always learned")
    heads: int = Field(2, ge=1, le=64, description="attention heads of a transformer block")


class UpstreamConfig(Strict):
    """A DERM model. `size` sets what is not set here; `headwater check --explain` prints the result.

    Its tasks may be of several logs: then its towers are shared, each log has an overtower and heads of its own, and all vectors are of one
    space. `balance` says whose batches it learns: each log's as it is, or as many of each.
    """

    tasks: tuple[str, ...] = Field(min_length=1)
    seed: int | None = Field(None, description="another seed, another space (default: the factory's)")
    size: Literal["tiny", "small", "medium", "large"] = "small"
    ids: bool = Field(True, description="whether towers know who it is; without ids a vector is of content alone")
    hidden_share: float | None = Field(
        None, ge=0, lt=1, description="share of rows learnt as of nobody, without id and histories (default: 0.1 with ids and content_vectors, else 0)"
    )
    content_vectors: tuple[Literal["user", "item"], ...] = Field((), description="entities of which those never seen get a vector of their content")
    id_buckets: int | None = Field(None, ge=1, le=1 << 27)
    token_width: int | None = Field(None, ge=4, multiple_of=2)
    tokens: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=4)
    batch_rows: int | None = Field(None, ge=8)
    dhen: DhenConfig = DhenConfig()
    overtower: bool = Field(True, description="without it, a logit is the cosine of the pair, scaled and shifted by task")
    heads: str = Field("shared_bottom", description="shared_bottom, mmoe, or another package's")
    experts: int = Field(4, ge=1, le=64, description="of the head mmoe")
    whole_space: tuple[str, ...] = Field((), description="tasks that are learnt over all rows, times the task they are given (ESMM)")
    balance: Literal["proportional", "equal"] = "proportional"
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    id_learning_rate: float = Field(0.1, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    temperature: float = Field(0.1, gt=0)
    learn_temperature: bool = False
    contrastive_weight: float = Field(0.1, ge=0)
    uniform_negatives: int = Field(0, ge=0, le=65_536, description="items a batch drawn uniformly as further negatives (mixed negative sampling)")
    checkpoint_steps: int = Field(2000, ge=1, description="batches between two checkpoints within a day, from which a killed run goes on")
    exploding: float = Field(20.0, gt=1, description="a loss so many times the usual stops the run")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|auto)$")
    fast: bool = Field(False, description="bfloat16 where the processor has it, and torch.compile for sizes that pay for it; bytes then differ by machine")

    @property
    def hides(self) -> float:
        """The share of rows that are learnt as if nobody had seen their user, or their item."""
        if self.hidden_share is not None:
            return self.hidden_share
        return 0.1 if self.ids and self.content_vectors else 0.0


class EmaPolicy(Strict):
    """E(t) = weight E(t-1) + (1 - weight) daily(t); the first sight is kept as it is.

    With `half_life_days` instead of a weight, the past weighs 2^(-gap / half_life_days), where gap counts the days since the
    entity was last seen. While a space is younger than `warm_up_days`, the newest vector overwrites: a model that is still
    finding its space makes vectors not worth remembering (both are ours, not the paper's).
    """

    kind: Literal["ema"] = "ema"
    weight: float = Field(0.8, ge=0, lt=1)
    half_life_days: float | None = Field(None, gt=0)
    warm_up_days: int = Field(0, ge=0)
    renormalize: bool = False

    @model_validator(mode="after")
    def _one_memory(self) -> EmaPolicy:
        if self.half_life_days is not None and self.weight != EmaPolicy.model_fields["weight"].default:
            raise ValueError("weight and half_life_days both say how fast to forget; set one of them")
        return self


class LatestPolicy(Strict):
    """The newest vector overwrites; an entity not seen today keeps its own (the paper's ACC, as we read it)."""

    kind: Literal["latest"] = "latest"
    renormalize: bool = False


class MeanPolicy(Strict):
    """The mean of an entity's last `k` daily vectors (the paper's AP, as we read it)."""

    kind: Literal["mean"] = "mean"
    k: int = Field(7, ge=1, le=64)
    warm_up_days: int = Field(0, ge=0)
    renormalize: bool = False


class LastPolicy(Strict):
    """An entity's last `k` daily vectors, newest first, as a sequence for the consumer."""

    kind: Literal["last"] = "last"
    k: int = Field(3, ge=1, le=64)
    warm_up_days: int = Field(0, ge=0)


PolicyConfig = EmaPolicy | LatestPolicy | MeanPolicy | LastPolicy


class AlignConfig(Strict):
    """When a new space may stand in for the old one, after a rotation, measured on entities that the rotation was not fitted on."""

    min_cosine: float = Field(0.6, ge=-1, le=1, description="mean cosine of a rotated vector with the old one")
    max_residual: float = Field(0.8, gt=0, description="||X R - Y||^2 / ||Y||^2")
    min_shared: int = Field(100, ge=2, description="entities that both spaces must know")


class LifecycleConfig(Strict):
    policy: Annotated[PolicyConfig, Field(discriminator="kind")] = EmaPolicy()
    lag_days: int = Field(1, ge=1)
    expire_days: int = Field(90, ge=1)
    promote: Literal["auto", "manual"] = Field("auto", description="whether a finished day goes live by itself, or by `headwater promote`")
    keep_days: int = Field(90, ge=2, description="the point-in-time window: editions and daily snapshots of that many days are kept")
    align: AlignConfig = AlignConfig()


class GateConfig(Strict):
    """Thresholds an edition must pass before it is published; "usual" is the median of the last editions (up to seven)."""

    settle_days: int = Field(3, ge=0, description="age of a space, in days, from which its drift is refused and not only written down")
    min_coverage_share: float = Field(0.6, ge=0, description="share of today's log rows whose entity had a vector, over the usual one")
    min_rows_share: float = Field(0.5, ge=0, description="entities of the edition, over the usual number")
    min_fresh_share: float = Field(0.3, ge=0, description="entities seen today, over the usual number")
    max_norm: float = Field(10.0, gt=0, description="length of the longest vector")
    min_norm: float = Field(1e-3, ge=0, description="median length of a vector")
    max_duplicate_share: float = Field(0.5, ge=0, le=1, description="share of entities whose vector is another's too")
    min_effective_rank: float = Field(2.0, ge=1, description="directions in use: exp(entropy) of the singular values' shares")
    min_effective_rank_share: float = Field(0.6, ge=0, description="directions in use, over the last edition's")
    min_cosine_continuing: float = Field(0.2, ge=-1, le=1, description="median, of today's vector with the last edition's: entities seen the last day too")
    min_cosine_returning: float = Field(0.1, ge=-1, le=1, description="the same: entities last seen earlier")
    max_centre_gap_new: float = Field(0.6, ge=0, le=2, description="median cosine with the last edition's centre: new entities against continuing ones")
    max_domain_auc: float = Field(0.98, ge=0.5, le=1, description="of a classifier that tells today's vectors from the last edition's; 0.5 cannot")
    neighbours: int = Field(10, ge=1, description="how many nearest neighbours are compared")
    min_neighbour_overlap: float = Field(0.2, ge=0, le=1, description="share of an entity's nearest neighbours that are kept")
    max_probe_drop: float = Field(0.05, ge=0, le=1, description="how far a click model's ROC-AUC on the vectors may fall, beyond two standard errors")


class StoreConfig(Strict):
    """`encoding` is that of the serving copies, made after averaging; averages themselves stay float32."""

    online: str = "lmdb"
    encoding: Literal["float32", "float16", "int8"] = "float32"
    bucket_rows: int = Field(32_768, ge=1, description="rows merged at a time: what bounds memory")
    compact_after: int = Field(8, ge=1, le=200, description="deltas that an edition may be spread over")


class IndexConfig(Strict):
    kind: str = "hnsw"


class ProjectionConfig(Strict):
    """What a consumer does with a vector before it joins: a linear map to `width` numbers (null: none, it joins as it is), behind
    LayerNorm + dropout if `norm`."""

    width: int | None = Field(8, ge=1)
    norm: bool = True
    dropout: float = Field(0.2, ge=0, lt=1)


class SequenceConfig(Strict):
    """How a consumer reads the user's history, where its log has one: a Transformer over the last `length` events (0: not at all)."""

    length: int = Field(20, ge=0, le=1000)
    layers: int = Field(1, ge=1, le=8)
    heads: int = Field(2, ge=1, le=16)


class DownstreamConfig(Strict):
    """A consumer. `also` are tasks of the same log that it learns beside its own, with their weights in the loss; it is judged on its own."""

    task: str
    also: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    model: str = "moe_dcn"
    arms: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ("none", "ctr_user", "ctr_user+ctr_item", "cvr_user+cvr_item", "all", "shuffled")
    seeds: Annotated[tuple[int, ...], AfterValidator(_distinct)] = Field((0, 1, 2), min_length=1)
    projection: ProjectionConfig = ProjectionConfig()
    sequence: SequenceConfig = SequenceConfig()
    counters: Literal["none", "log", "full"] = Field(
        "log", description="counting features of the histories, fresh at each event: of the log alone, or with the seed table too"
    )
    id_buckets: int = Field(50_000, ge=1)
    feature_width: int = Field(8, ge=2, multiple_of=2)
    hidden: int = Field(64, ge=4)
    batch_rows: int = Field(512, ge=8)
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    id_learning_rate: float = Field(0.1, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _heads_fit(self) -> DownstreamConfig:
        if self.sequence.length and self.feature_width % self.sequence.heads:
            raise ValueError(f"feature_width {self.feature_width} should be a multiple of sequence.heads {self.sequence.heads}")
        return self


class EvaluationConfig(Strict):
    """Which days the tables pool, and how their intervals are made. What the leak audit would refuse passes where it is `trusted`: a feature
    (`item.price`), a history (`histories.user`, `histories.user.seed`) or the log of one (`logs.feed`)."""

    start: dt.date | None = None
    end: dt.date | None = None
    bootstrap: int = Field(500, ge=10)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    trusted: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> EvaluationConfig:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


class PriorConfig(Strict):
    """How much popularity counts in retrieval: cosine / temperature + weight * log(1 + positives of the last `days` days).

    Training takes log Q off, so that u.p / temperature tells what a user likes more than others do; this gives it back.
    """

    weight: float = Field(1.0, ge=0)
    days: int = Field(1, ge=1)


class RetrievalConfig(Strict):
    """How items are found for a user: in which upstream's space, towards which task, with how much popularity (null: none).

    Of table T8: an item is `cold` below so many rows in the log; `unseen` leaves out what the user has met before, for every method.
    """

    upstream: str | None = Field(None, description="whose space (default: the first declared)")
    task: str | None = Field(None, description="what is wanted: a task whose label is known with the row (default: the first such one)")
    prior: PriorConfig | None = None
    cold_rows: int = Field(20, ge=1)
    unseen: bool = False


class TrackingConfig(Strict):
    """Where training is logged: `tensorboard` (event files in `uri`, a folder), `mlflow` (a tracking server), or another package's."""

    kind: str
    uri: str | None = Field(None, description="of TensorBoard, default: `tracking/` in the warehouse; MLflow needs one")

    @model_validator(mode="after")
    def _server(self) -> TrackingConfig:
        if self.kind == "mlflow" and self.uri is None:
            raise ValueError("mlflow needs the uri of its tracking server, such as http://127.0.0.1:5000")
        return self


class LaneConfig(Strict):
    """A retraining that runs beside the live lane until it is promoted: what of the upstreams is other there (such as `seed`).

    `closed` lanes are not run any more. The lane `main` is the factory as it is declared; only `closed` may be set of it.
    """

    upstreams: dict[str, dict[str, Any]] = Field(default_factory=dict)
    closed: bool = False


class FactoryConfig(Strict):
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    warehouse: str = "./warehouse"
    seed: int = 0
    time_zone: str = "UTC"
    workers: int = Field(2, ge=0, le=256, description="worker processes of one thread each; 0 runs all in this process")
    logs: dict[str, LogConfig] = Field(min_length=1)
    entities: dict[str, EntityConfig] = Field(min_length=1)
    histories: dict[str, HistoryConfig] = Field(default_factory=dict)
    tasks: dict[str, TaskConfig] = Field(min_length=1)
    upstreams: dict[str, UpstreamConfig] = Field(min_length=1)
    lifecycle: LifecycleConfig = LifecycleConfig()
    gates: GateConfig = GateConfig()
    store: StoreConfig = StoreConfig()
    index: IndexConfig = IndexConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    downstream: dict[str, DownstreamConfig] = Field(default_factory=dict)
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig | None = None
    lanes: dict[str, LaneConfig] = Field(default_factory=dict)

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"should be an IANA time zone such as Asia/Shanghai, received {value!r}")
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
        """The factory as one of its lanes runs it. Raises ConfigError where there is no such lane."""
        if lane == "main":
            return self.model_copy(update={"lanes": {}})
        if lane not in self.lanes:
            raise ConfigError(f"no lane named {lane!r}; declared: {', '.join(['main', *self.lanes])}. Declare it under `lanes` in factory.yaml.")
        spec, raw = self.lanes[lane], self.model_dump(exclude_unset=True, exclude={"lanes"})
        for name, changes in spec.upstreams.items():
            raw["upstreams"][name] = {**raw["upstreams"].get(name, {}), **changes}
        return parse_config(raw, f"lanes.{lane}")

    def open_lanes(self) -> tuple[str, ...]:
        """The lanes that a run runs, `main` first."""
        return tuple(name for name in dict.fromkeys(("main", *self.lanes)) if not (name in self.lanes and self.lanes[name].closed))

    def retrieval_upstream(self) -> str:
        """In whose space items are retrieved."""
        return self.retrieval.upstream or next(iter(self.upstreams))

    def retrieval_task(self) -> str:
        """What retrieval is for: by default the first task, of its upstream before others, whose label is known with the row. Raises ConfigError."""
        raw = self.model_dump()
        listed = (*self.upstreams[self.retrieval_upstream()].tasks, *self.tasks)
        found = self.retrieval.task or next((task for task in listed if _known_with_the_row(raw, task)), None)
        if found is None:
            raise ConfigError("retrieval: every task's labels arrive late or in another log; declare one whose label is a column of its rows.")
        return found

    def data_digest(self) -> str:
        """Of all that shapes examples, but for the data itself and where it lies."""
        return digest_of(self.model_dump(mode="json", include={"time_zone", "logs", "entities", "histories", "tasks"}),
                         {name: spec.tasks for name, spec in self.upstreams.items()})  # fmt: skip

    def digest(self) -> str:
        """Of all that shapes a vector or a score. Where things lie, how many workers make them, and what is refused, do not."""
        kept = self.model_dump(mode="json", exclude={"name", "warehouse", "workers", "evaluation", "gates", "index", "retrieval", "store", "tracking", "lanes"})
        kept["encoding"] = self.store.encoding
        for field in ("promote", "keep_days", "align"):
            kept["lifecycle"].pop(field)
        for log in kept["logs"].values():
            log.pop("path")
            log.pop("max_reject_share")
        for entity in kept["entities"].values():
            entity.pop("table")
            entity.pop("as_of")
        for upstream in kept["upstreams"].values():
            for field in HOW_NOT_WHAT:
                upstream.pop(field)
        for history in kept["histories"].values():
            if history["seed"]:
                history["seed"].pop("table")
                history["seed"].pop("as_of")
        return digest_of(kept)


HOW_NOT_WHAT = ("device", "checkpoint_steps", "exploding")  # of an upstream: settings that shape no vector

# ---- references between the parts ----------------------------------------------------------------------------------

SHUFFLED = "shuffled"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
TOWERS = ("user", "item")


def embedding_names(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """`UPSTREAM_ENTITY` for every upstream and each entity of its tasks' logs, in declared order."""
    names: list[str] = []
    for upstream, spec in _items(raw, "upstreams"):
        for entity in upstream_entities(raw, spec):
            names.append(f"{upstream}_{entity}")
    return tuple(names)


def upstream_entities(raw: Mapping[str, Any], spec: Any) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for task in _strings(_get(spec, "tasks")):
        log = _get(_get(_get(raw, "tasks"), task), "log")
        found.update(dict.fromkeys(_keys(_get(_get(_get(raw, "logs"), log), "entities"))))
    return tuple(entity for entity in TOWERS if entity in found)  # a log may name more; only these two have towers


def broken_references(raw: Mapping[str, Any]) -> Iterator[str]:
    """Every name that points nowhere, as 'path: problem'. Works on a raw, possibly faulty, mapping."""
    logs, entities, tasks = (_keys(_get(raw, part)) for part in ("logs", "entities", "tasks"))
    for part in ("logs", "entities", "histories", "tasks", "upstreams", "downstream"):
        for name, _ in _items(raw, part):
            if not NAME.fullmatch(name) or (part == "upstreams" and name == "downstream"):
                yield f"{part}.{name}: not a usable name; begin with a letter, then letters, digits and _ (and `downstream` is taken)"
    for name, log in _items(raw, "logs"):
        for entity in _keys(_get(log, "entities")):
            yield from _expect(entity, entities, f"logs.{name}.entities.{entity}", "entity")
    for name, entity_spec in _items(raw, "entities"):
        if _get(entity_spec, "table") and not _get(entity_spec, "key"):
            yield f"entities.{name}.key: a table needs a key column; name the column that holds the {name} id"
        if _get(entity_spec, "features") and not _get(entity_spec, "table"):
            yield f"entities.{name}.table: features are declared but no table to read them from"
    owned: set[tuple[Any, Any]] = set()
    for name, history in _items(raw, "histories"):
        owner = _get(history, "entity") or name
        yield from _expect(owner, entities, f"histories.{name}.entity", "entity")
        if (owner, _get(history, "log")) in owned:
            yield f"histories.{name}: a second history of {owner!r} in the log {_get(history, 'log')!r}; one is read"
        owned.add((owner, _get(history, "log")))
        yield from _broken_history(raw, name, owner, history)
        yield from _expect(_get(history, "of"), entities, f"histories.{name}.of", "entity")
        yield from _expect(_get(history, "log"), logs, f"histories.{name}.log", "log")
        for action in _keys(_get(_get(history, "seed"), "actions")):
            yield from _expect(action, _strings(_get(history, "actions")), f"histories.{name}.seed.actions", "action")
    for name, task in _items(raw, "tasks"):
        yield from _expect(_get(task, "log"), logs, f"tasks.{name}.log", "log")
        yield from _expect(_get(task, "given"), tasks, f"tasks.{name}.given", "task")
        label = _get(task, "label")
        if isinstance(label, Mapping):
            yield from _expect(label.get("log"), logs, f"tasks.{name}.label.log", "log")
        given = _get(_get(raw, "tasks"), _get(task, "given"))
        if isinstance(given, Mapping):
            if given.get("log") != _get(task, "log"):
                yield f"tasks.{name}.given: {_get(task, 'given')!r} is a task of another log"
            elif (_get(given, "matures_days") or 0) > (_get(task, "matures_days") or 0):
                yield f"tasks.{name}.matures_days: {_get(task, 'given')!r}, which it is given, matures later"
            elif _get(given, "given"):
                yield f"tasks.{name}.given: {_get(task, 'given')!r} is itself given another task; chains are not read"
    for name, upstream in _items(raw, "upstreams"):
        for task in _strings(_get(upstream, "tasks")):
            yield from _expect(task, tasks, f"upstreams.{name}.tasks", "task")
        chosen = {_get(_get(_get(raw, "tasks"), task), "log") for task in _strings(_get(upstream, "tasks"))}
        for log in sorted(chosen & set(logs)):
            there = _keys(_get(_get(_get(raw, "logs"), log), "entities"))
            missing = [role for role in TOWERS if role not in there]
            if missing:
                yield f"upstreams.{name}.tasks: the log {log!r} has no entity {' and no '.join(missing)}"
        yield from _broken_upstream(raw, name, upstream)
    yield from _broken_consumers(raw, tasks)
    for name in _strings(_get(_get(raw, "evaluation"), "trusted")):
        yield from _expect(name, _auditable(raw), "evaluation.trusted", "feature, history or log")
    yield from _broken_retrieval(raw, tasks)
    numbers = _get(raw, "lifecycle")
    kept, lag = _get(numbers, "keep_days"), _get(numbers, "lag_days") or 1
    matures = max((days for _, task in _items(raw, "tasks") if isinstance(days := _get(task, "matures_days"), int)), default=0)
    if isinstance(kept, int) and isinstance(lag, int) and kept < matures + lag + 2:
        yield (f"lifecycle.keep_days: {kept} is too short; rows whose labels mature after {matures} days read what was served {lag} days before them: "
               f"at least {matures + lag + 2}")  # fmt: skip
    for name, lane in _items(raw, "lanes"):
        if not NAME.fullmatch(name):
            yield f"lanes.{name}: not a usable name; begin with a letter, then letters, digits and _"
        for upstream in _keys(_get(lane, "upstreams")):
            yield from _expect(upstream, _keys(_get(raw, "upstreams")), f"lanes.{name}.upstreams", "upstream")
        if name == "main" and _get(lane, "upstreams"):
            yield "lanes.main: is the factory as declared; only `closed` may be set of it"


def _broken_upstream(raw: Mapping[str, Any], name: str, upstream: Any) -> Iterator[str]:
    listed = _strings(_get(upstream, "tasks"))
    for task in _strings(_get(upstream, "whole_space")):
        given = _get(_get(_get(raw, "tasks"), task), "given")
        if task not in listed:
            yield f"upstreams.{name}.whole_space: {task!r} is no task of this upstream; its tasks: {', '.join(listed)}"
        elif given is None:
            yield f"upstreams.{name}.whole_space: {task!r} is given no other task, so it is defined on all rows already"
        elif given not in listed:
            yield f"upstreams.{name}.whole_space: {task!r} is given {given!r}, which has to be a task of this upstream too"
    for entity in _strings(_get(upstream, "content_vectors")):
        if not _get(_get(_get(raw, "entities"), entity), "table"):
            yield f"upstreams.{name}.content_vectors: the entity {entity!r} has no table, so nothing is known of one never seen"
    width, heads = _get(upstream, "token_width"), _get(_get(upstream, "dhen"), "heads")
    if isinstance(width, int) and isinstance(heads, int) and width % heads:
        yield f"upstreams.{name}.dhen.heads: token_width {width} should be a multiple of {heads}"


def _broken_history(raw: Mapping[str, Any], name: str, owner: Any, history: Any) -> Iterator[str]:
    log = _get(history, "log")
    there = _keys(_get(_get(_get(raw, "logs"), log), "entities"))
    for field, entity in (("entity", owner), ("of", _get(history, "of"))):
        if log in _keys(_get(raw, "logs")) and entity in _keys(_get(raw, "entities")) and entity not in there:
            yield f"histories.{name}.{field}: the log {log!r} has no entity {entity!r}; it has {', '.join(there) or 'none'}"
    late = {column: task_name for task_name, task in _items(raw, "tasks") if _get(task, "log") == log and _get(task, "matures_days")
            for column in label_columns(_get(task, "label"))}  # fmt: skip
    for column in (*_strings(_get(history, "actions")), _get(history, "where")):
        if column in late:
            yield (f"histories.{name}: {column!r} is the label of the task {late[column]!r}, which matures later; a history that "
                   "holds it would know it too early")  # fmt: skip
    features = _get(_get(_get(raw, "entities"), _get(history, "of")), "features")
    alike = [key for key in _keys(features) if _kind_of(features, key) in ("categorical", "multi_categorical")]
    for feature in _strings(_get(history, "pairs")):
        yield from _expect(feature, ("id", *alike), f"histories.{name}.pairs", f"categorical feature of {_get(history, 'of')!r}")


def _kind_of(features: Any, name: str) -> Any:
    feature = _get(features, name)
    return feature if isinstance(feature, str) else _get(feature, "kind")


def _broken_retrieval(raw: Mapping[str, Any], tasks: tuple[str, ...]) -> Iterator[str]:
    spec = _get(raw, "retrieval")
    yield from _expect(_get(spec, "upstream"), _keys(_get(raw, "upstreams")), "retrieval.upstream", "upstream")
    yield from _expect(_get(spec, "task"), tasks, "retrieval.task", "task")
    if _get(spec, "task") in tasks and not _known_with_the_row(raw, _get(spec, "task")):
        yield f"retrieval.task: the labels of {_get(spec, 'task')!r} arrive late or in another log; name a task whose label is a column of its rows"


def _known_with_the_row(raw: Mapping[str, Any], task: Any) -> bool:
    """Whether the labels of a task, and of the one it is given, are columns of its log that are known on the day."""
    spec = _get(_get(raw, "tasks"), task)
    chain = [spec, _get(_get(raw, "tasks"), _get(spec, "given"))]
    return not any(_get(one, "matures_days") or isinstance(_get(one, "label"), Mapping) for one in chain)


def _auditable(raw: Mapping[str, Any]) -> Iterator[str]:
    """What the leak audit gives figures of, by the names that it gives them."""
    for name, entity in _items(raw, "entities"):
        yield from (f"{name}.{feature}" for feature in _keys(_get(entity, "features")))
    for name, history in _items(raw, "histories"):
        yield from (f"histories.{name}", f"logs.{_get(history, 'log')}")
        if _get(history, "seed"):
            yield f"histories.{name}.seed"


def _broken_consumers(raw: Mapping[str, Any], tasks: tuple[str, ...]) -> Iterator[str]:
    embeddings = embedding_names(raw)
    for name, consumer in _items(raw, "downstream"):
        yield from _expect(_get(consumer, "task"), tasks, f"downstream.{name}.task", "task")
        log = _get(_get(_get(raw, "tasks"), _get(consumer, "task")), "log")
        missing = [role for role in TOWERS if log in _keys(_get(raw, "logs")) and role not in _keys(_get(_get(_get(raw, "logs"), log), "entities"))]
        if missing:
            yield f"downstream.{name}.task: its log {log!r} has no entity {' and no '.join(missing)}"
        arms = _get(consumer, "arms")
        if arms is None:
            arms = DownstreamConfig.model_fields["arms"].default
        same: dict[tuple[frozenset[str], frozenset[str]], str] = {}
        for arm in _strings(arms):
            faults, what = read_by(arm, embeddings)
            yield from (f"downstream.{name}.arms: arm {arm!r}: {fault}" for fault in faults)
            if not faults and same.setdefault(what, arm) != arm:
                yield f"downstream.{name}.arms: arm {arm!r} is the same as {same[what]!r}"
        yield from _broken_beside(raw, name, consumer, tasks)
        if isinstance(arms, list | tuple) and "none" not in arms:
            yield f"downstream.{name}.arms: the arm 'none' is what every lift is measured against; add it"


def _broken_beside(raw: Mapping[str, Any], name: str, consumer: Any, tasks: tuple[str, ...]) -> Iterator[str]:
    own = _get(_get(raw, "tasks"), _get(consumer, "task"))
    for beside in _keys(_get(consumer, "also")):
        path = f"downstream.{name}.also.{beside}"
        yield from _expect(beside, tasks, path, "task")
        other = _get(_get(raw, "tasks"), beside)
        if not (isinstance(own, Mapping) and isinstance(other, Mapping)):
            continue
        if other == own:
            yield f"{path}: is the consumer's own task"
        elif other.get("log") != own.get("log"):
            yield f"{path}: is a task of another log"
        elif (other.get("matures_days") or 0) > (own.get("matures_days") or 0):
            yield f"{path}: matures after {other.get('matures_days')} days, later than the consumer's own task, with which it is learnt"


def split_arm(name: str) -> list[tuple[str, str]]:
    """`all-ctr_user~cvr_item` -> [("", "all"), ("-", "ctr_user"), ("~", "cvr_item")]: what an arm reads, leaves out, and shuffles."""
    pieces = re.split(r"([+~-])", name)
    return [("", pieces[0]), *zip(pieces[1::2], pieces[2::2], strict=True)]


def read_by(arm: str, embeddings: Sequence[str]) -> tuple[list[str], tuple[frozenset[str], frozenset[str]]]:
    """What is wrong with an arm's name, and which embeddings it reads, and which of these shuffled."""
    (_, base), *changes = split_arm(arm)
    whole = base in ("none", "all", SHUFFLED)
    reads = set(embeddings) if base in ("all", SHUFFLED) else set() if whole else {base}
    shuffled, faults = set(reads) if base == SHUFFLED else set(), list[str]()
    for sign, part in [*([] if whole else [("", base)]), *changes]:
        if part not in embeddings:
            faults.append(f"no embedding named {part!r}; declared: {', '.join(embeddings) or 'none'}. An arm is none, all, shuffled, or names joined by +; "
                          "then -NAME leaves one out, and ~NAME shuffles one")  # fmt: skip
        elif sign == "+" and part in reads:
            faults.append(f"{part} is read already")
        elif sign == "-" and part not in reads:
            faults.append(f"{part} cannot be left out, for the arm does not read it")
        elif sign == "~" and (part not in reads or part in shuffled):
            faults.append(f"{part} cannot be shuffled, for the arm does not read it" + (" as it is" if part in shuffled else ""))
        else:
            {"+": reads.add, "-": reads.discard, "~": shuffled.add, "": reads.add}[sign](part)
    if whole and base != "none" and not reads:
        faults.append("nothing is left to read; that is the arm none")
    return faults, (frozenset(reads), frozenset(shuffled & reads))


def _expect(value: Any, known: Iterable[str], path: str, noun: str) -> Iterator[str]:
    known = tuple(known)
    if value is not None and value not in known:
        yield f"{path}: no {noun} named {value!r}; declared: {', '.join(known) or 'none'}"


def _get(value: Any, key: Any) -> Any:
    return value.get(key) if isinstance(value, Mapping) and isinstance(key, str) else None


def _keys(value: Any) -> tuple[str, ...]:
    return tuple(str(key) for key in value) if isinstance(value, Mapping) else ()


def _items(raw: Mapping[str, Any], part: str) -> list[tuple[str, Any]]:
    value = _get(raw, part)
    return [(str(key), item) for key, item in value.items()] if isinstance(value, Mapping) else []


def label_columns(label: Any) -> tuple[str, ...]:
    """The columns of its log that a label is read from; none where it arrives in another log."""
    return (label,) if isinstance(label, str) else _strings(label)


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


# ---- loading -------------------------------------------------------------------------------------------------------


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML silently keeps the last of two equal keys; a config must not."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    for key in keys:
        if keys.count(key) > 1:
            raise yaml.YAMLError(f"the key {key!r} is written twice, line {node.start_mark.line + 1}")
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def parse_config(raw: Any, source: str = "factory.yaml") -> FactoryConfig:
    """Validate a mapping. Raises ConfigError with every fault, each as 'path: problem, what was received'."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{source}: expected a mapping at the top, received {type(raw).__name__}.")
    try:
        return FactoryConfig.model_validate(raw)
    except ValidationError as error:
        described = [_describe(item) for item in error.errors() if item["loc"]]
        problems = list(dict.fromkeys(itertools.chain(described, broken_references(raw))))
        head = f"{source}: {len(problems)} problem{'s' * (len(problems) != 1)}:"
        raise ConfigError(head, problems) from None


def _describe(item: Any) -> str:
    path = ".".join(str(part) for part in item["loc"] if part not in FEATURE_KINDS)
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
        raise ConfigError(f"policy {text!r}:", [_describe(item) for item in error.errors()]) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"policy {text!r}: not readable as YAML: {error}") from None


def load_config(path: Path) -> FactoryConfig:
    """Read and validate a `factory.yaml`. Raises ConfigError."""
    try:
        raw = yaml.load(path.read_text(), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. `headwater init RECIPE --data DIR --out DIR` writes one, or name "
                          "yours with --factory.") from None  # fmt: skip
    except (OSError, UnicodeDecodeError, TypeError, yaml.YAMLError) as error:  # TypeError: a key that is no text
        raise ConfigError(f"{path}: not readable as YAML: {error}") from error
    return parse_config(raw, str(path))


def warehouse_of(config: FactoryConfig, root: Path) -> Path:
    if "://" in config.warehouse:
        raise ConfigError(f"warehouse: {config.warehouse!r} is a URL; this version keeps its warehouse in a local folder.")
    return (root / config.warehouse).resolve()
