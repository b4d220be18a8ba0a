"""`factory.yaml`: what a factory is made of. Strict, frozen, and every fault is reported at once with its path."""

from headwater.config.data import (
    Categorical,
    EntityConfig,
    Feature,
    HistoryConfig,
    HistorySeed,
    JoinedLabel,
    LogConfig,
    MultiCategorical,
    Numeric,
    TaskConfig,
    Timestamp,
    Vector,
)
from headwater.config.factory import HOW_NOT_WHAT, FactoryConfig, load_config, parse_config, parse_policy, warehouse_of
from headwater.config.models import DhenConfig, DownstreamConfig, PriorConfig, ProjectionConfig, RetrievalConfig, SequenceConfig, UpstreamConfig
from headwater.config.references import SHUFFLED, embedding_names, label_columns, read_by, upstream_entities
from headwater.config.running import (
    AlignConfig,
    EmaPolicy,
    EvaluationConfig,
    GateConfig,
    LastPolicy,
    LatestPolicy,
    LifecycleConfig,
    MeanPolicy,
    PolicyConfig,
    StoreConfig,
    TrackingConfig,
)

__all__ = [
    "HOW_NOT_WHAT", "SHUFFLED", "AlignConfig", "Categorical", "DhenConfig", "DownstreamConfig", "EmaPolicy", "EntityConfig", "EvaluationConfig",
    "FactoryConfig", "Feature", "GateConfig", "HistoryConfig", "HistorySeed", "JoinedLabel", "LastPolicy", "LatestPolicy", "LifecycleConfig",
    "LogConfig", "MeanPolicy", "MultiCategorical", "Numeric", "PolicyConfig", "PriorConfig", "ProjectionConfig", "RetrievalConfig", "SequenceConfig",
    "StoreConfig", "TaskConfig", "Timestamp", "TrackingConfig", "UpstreamConfig", "Vector", "embedding_names", "label_columns", "load_config",
    "parse_config", "parse_policy", "read_by", "upstream_entities", "warehouse_of",
]  # fmt: skip
