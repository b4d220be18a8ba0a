"""Tensors into tensors: blocks, DHEN layers, feature tokens, losses. Knows no schema, file or day."""

from headwater.nn.blocks import CrossNet, MaskBlock, MlpBlock, TransformerBlock
from headwater.nn.dhen import Dhen, DhenLayer
from headwater.nn.features import FeatureTensors, FeatureTokens, RunningNorm
from headwater.nn.history import HistoryTensors, HistoryTokens, SequenceEncoder
from headwater.nn.losses import StreamingFrequency, contrastive_loss, masked_bce
from headwater.nn.tables import RowTable, RowwiseAdagrad

__all__ = [
    "CrossNet", "Dhen", "DhenLayer", "FeatureTensors", "FeatureTokens", "HistoryTensors", "HistoryTokens", "MaskBlock",
    "MlpBlock", "RowTable", "RowwiseAdagrad", "RunningNorm", "SequenceEncoder", "StreamingFrequency", "TransformerBlock",
    "contrastive_loss", "masked_bce",
]  # fmt: skip
