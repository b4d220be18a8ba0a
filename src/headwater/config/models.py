"""What a factory learns: upstream models, consumers, retrieval."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from headwater.config.base import RUNNING, Strict, distinct


class DhenConfig(Strict):
    """The interaction layers of a model's towers and overtower.

    Blocks side by side, layer upon layer. A block is one of ours (docs/upstream.md), or another
    package's as `package.module:Class`.
    """

    layers: tuple[Annotated[tuple[str, ...], Field(min_length=1)], ...] = Field(
        (("masknet", "mlp"), ("transformer", "mlp")), min_length=1
    )
    ensemble: Literal["sum", "concat", "weighted"] = "sum"
    shortcut: Literal["identity", "learned"] = Field(
        "identity", description="a change of the number of tokens is always learned"
    )
    heads: int = Field(2, ge=1, le=64, description="attention heads of a transformer block")


# what `size` sets of an upstream
SIZES = {
    "tiny": {"token_width": 8, "tokens": 2, "hidden": 32, "batch_rows": 256, "id_buckets": 5_000},
    "small": {
        "token_width": 16,
        "tokens": 4,
        "hidden": 64,
        "batch_rows": 512,
        "id_buckets": 50_000,
    },
    "medium": {
        "token_width": 16,
        "tokens": 8,
        "hidden": 256,
        "batch_rows": 1024,
        "id_buckets": 1_000_000,
    },
    "large": {
        "token_width": 32,
        "tokens": 8,
        "hidden": 512,
        "batch_rows": 4096,
        "id_buckets": 10_000_000,
    },
}


class UpstreamConfig(Strict):
    """A DERM model.

    `size` sets what is not set here; `headwater check --explain` prints the result. Its tasks may
    be of several logs: then its towers are shared, each log has an overtower and heads of its own,
    and all vectors are of one space. `balance` says whose batches it learns: each log's as it is,
    or as many of each.
    """

    kind: Literal["derm"] = "derm"
    tasks: tuple[str, ...] = Field(min_length=1)
    seed: int | None = Field(
        None, description="another seed, another space (default: the factory's)"
    )
    size: Literal["tiny", "small", "medium", "large"] = "small"
    ids: bool = Field(
        True, description="whether towers know who it is; without ids a vector is of content alone"
    )
    hidden_share: float | None = Field(
        None,
        ge=0,
        lt=1,
        description=(
            "share of rows learnt as of nobody, without id and histories (default: 0.1 with ids and"
            " content_vectors, else 0)"
        ),
    )
    content_vectors: tuple[Literal["user", "item"], ...] = Field(
        (), description="entities of which those never seen get a vector of their content"
    )
    id_buckets: int | None = Field(None, ge=1, le=1 << 27)
    token_width: int | None = Field(None, ge=4, multiple_of=2)
    tokens: int | None = Field(None, ge=1)
    hidden: int | None = Field(None, ge=4)
    batch_rows: int | None = Field(None, ge=8)
    dhen: DhenConfig = DhenConfig()
    overtower: bool = Field(
        True,
        description="without it, a logit is the cosine of the pair, scaled and shifted by task",
    )
    heads: str = Field("shared_bottom", description="shared_bottom, mmoe, or another package's")
    experts: int = Field(4, ge=1, le=64, description="of the head mmoe")
    whole_space: tuple[str, ...] = Field(
        (), description="tasks that are learnt over all rows, times the task they are given (ESMM)"
    )
    balance: Literal["proportional", "equal"] = "proportional"
    epochs: int = Field(1, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    id_learning_rate: float = Field(0.1, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    temperature: float = Field(0.1, ge=0.01)
    learn_temperature: bool = False
    contrastive_weight: float = Field(0.1, ge=0)
    uniform_negatives: int = Field(
        0,
        ge=0,
        le=65_536,
        description="items a batch drawn uniformly as further negatives (mixed negative sampling)",
    )
    checkpoint_steps: int = Field(
        2000,
        ge=1,
        description="batches between two checkpoints within a day, from which a killed run goes on",
        json_schema_extra=RUNNING,
    )
    exploding: float = Field(
        20.0,
        gt=1,
        description="a loss so many times the usual stops the run",
        json_schema_extra=RUNNING,
    )
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|auto)$", json_schema_extra=RUNNING)
    fast: bool = Field(
        False,
        description=(
            "bfloat16 where the processor has it, and torch.compile for sizes that pay for it;"
            " bytes then differ by machine"
        ),
    )

    def derived(self) -> dict[str, int]:
        """The size dial's values, each replaced by what is set itself."""
        return {
            name: value if (own := getattr(self, name)) is None else own
            for name, value in SIZES[self.size].items()
        }

    @property
    def hides(self) -> float:
        """The share of rows that are learnt as if nobody had seen their user, or their item."""
        if self.hidden_share is not None:
            return self.hidden_share
        return 0.1 if self.ids and self.content_vectors else 0.0


class OtherUpstreamConfig(Strict):
    """An upstream of another package's kind, `package.module:Class` or a name that it offers.

    Its `tasks` say which logs it reads and which labels it may learn; `entities` which of their
    entities it makes vectors of (default: all that may have any). `settings` are its own.
    """

    kind: str = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    entities: tuple[Literal["user", "item"], ...] | None = Field(None, min_length=1)
    seed: int | None = Field(None, description="another seed (default: the factory's)")
    settings: dict[str, Any] = Field(default_factory=dict)


def _upstream_kind(raw: Any) -> str:
    kind = raw.get("kind", "derm") if isinstance(raw, dict) else getattr(raw, "kind", "derm")
    return "derm" if kind == "derm" else "other"


AnyUpstreamConfig = UpstreamConfig | OtherUpstreamConfig
UpstreamField = Annotated[
    Annotated[UpstreamConfig, Tag("derm")] | Annotated[OtherUpstreamConfig, Tag("other")],
    Discriminator(_upstream_kind),
]
UPSTREAM_TAGS = ("derm", "other")


class ProjectionConfig(Strict):
    """What a consumer does with a vector before it joins: a linear map to `width` numbers.

    With null there is none, and it joins as it is. With `norm`, LayerNorm and dropout come first.
    """

    width: int | None = Field(8, ge=1)
    norm: bool = True
    dropout: float = Field(0.2, ge=0, lt=1)


class SequenceConfig(Strict):
    """How a consumer reads the user's history, where its log has one.

    A Transformer over the last `length` events (0: not at all).
    """

    length: int = Field(20, ge=0, le=1000)
    layers: int = Field(1, ge=1, le=8)
    heads: int = Field(2, ge=1, le=16)


class DownstreamConfig(Strict):
    """A consumer: a ranker of one task.

    `also` are tasks of the same log that it learns beside its own, with their weights in the loss;
    it is judged on its own.
    """

    task: str
    also: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    model: str = "moe_dcn"
    variants: Annotated[tuple[str, ...], AfterValidator(distinct)] = Field(
        (), description="which embeddings are compared (default: see `default_variants`)"
    )
    seeds: Annotated[tuple[int, ...], AfterValidator(distinct)] = Field((0, 1, 2), min_length=1)
    fall_back: bool = Field(
        True,
        description=(
            "rows that lack a vector of a variant are predicted as by the variant `none`, of the"
            " same seed, where that is one of the variants"
        ),
    )
    projection: ProjectionConfig = ProjectionConfig()
    sequence: SequenceConfig = SequenceConfig()
    counters: Literal["none", "log", "full"] = Field(
        "log",
        description=(
            "counting features of the histories, fresh at each event: of the log alone, or with the"
            " seed table too"
        ),
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
            raise ValueError(
                f"feature_width {self.feature_width} should be a multiple of sequence.heads"
                f" {self.sequence.heads}"
            )
        return self


class PriorConfig(Strict):
    """How much popularity counts in retrieval.

    The score is cosine / temperature + weight * log(1 + positives of the last `days` days).
    With log Q corrected in training, the first comes near log P(item | user), the popularity of all
    that was learnt included; the second adds what is popular of late.
    """

    weight: float = Field(0.5, ge=0)
    days: int = Field(1, ge=1)


class RetrievalConfig(Strict):
    """How items are found for a user: in whose space, towards which task.

    `prior` says how much popularity counts (null: not at all). Of table T8: an item is `cold` below
    so many rows in the log; `unseen` leaves out what the user has met before, for every method.
    """

    upstream: str | None = Field(None, description="whose space (default: the first declared)")
    task: str | None = Field(
        None,
        description=(
            "what is wanted: a task whose label is known with the row (default: the first such one)"
        ),
    )
    prior: PriorConfig | None = None
    cold_rows: int = Field(20, ge=1)
    unseen: bool = False
