"""Tensors into tensors: blocks, DHEN layers, feature tokens, losses.

Knows no schema, file or day.
"""

from headwater.nn.blocks import BLOCKS, MlpBlock, TransformerBlock
from headwater.nn.cross import CrossNet
from headwater.nn.dhen import Dhen, DhenLayer, LayerDesign
from headwater.nn.dropout import SeededDropout
from headwater.nn.features import FeatureTensors, FeatureTokens
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
from headwater.nn.masknet import MaskBlock
from headwater.nn.quantiles import RunningQuantiles
from headwater.nn.scaling import RunningNorm
from headwater.nn.stacking import Stack
from headwater.nn.tables import RowTable, RowwiseAdagrad
from headwater.nn.vocabulary import Vocabulary

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
    "LayerDesign",
    "MaskBlock",
    "MlpBlock",
    "Mmoe",
    "Negatives",
    "RowTable",
    "RowwiseAdagrad",
    "RunningNorm",
    "RunningQuantiles",
    "SeededDropout",
    "SequenceEncoder",
    "SharedBottom",
    "Stack",
    "StreamingFrequency",
    "TransformerBlock",
    "Vocabulary",
    "contrastive_loss",
    "masked_bce",
    "mixed_log_q",
    "whole_space_bce",
]
