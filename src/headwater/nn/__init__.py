"""Tensors into tensors: blocks, DHEN layers, feature tokens, losses. Knows no schema, file or
day.
"""

from headwater.nn.blocks import BLOCKS, CrossNet, MaskBlock, MlpBlock, TransformerBlock
from headwater.nn.dhen import Dhen, DhenLayer
from headwater.nn.features import (
    FeatureTensors,
    FeatureTokens,
    RunningNorm,
    RunningQuantiles,
    Vocabulary,
)
from headwater.nn.heads import HEADS, Mmoe, SharedBottom
from headwater.nn.history import HistoryTensors, HistoryTokens, SequenceEncoder
from headwater.nn.losses import (
    Negatives,
    StreamingFrequency,
    contrastive_loss,
    masked_bce,
    mixed_log_q,
    whole_space_bce,
)
from headwater.nn.tables import RowTable, RowwiseAdagrad

__all__ = [
    "BLOCKS",
    "HEADS",
    "CrossNet",
    "Dhen",
    "DhenLayer",
    "FeatureTensors",
    "FeatureTokens",
    "HistoryTensors",
    "HistoryTokens",
    "MaskBlock",
    "MlpBlock",
    "Mmoe",
    "Negatives",
    "RowTable",
    "RowwiseAdagrad",
    "RunningNorm",
    "RunningQuantiles",
    "SequenceEncoder",
    "SharedBottom",
    "StreamingFrequency",
    "TransformerBlock",
    "Vocabulary",
    "contrastive_loss",
    "masked_bce",
    "mixed_log_q",
    "whole_space_bce",
]
