"""From trained folders to what serves: OpenVINO graphs in FP32 and INT8, measured against each other."""

from tulou.model.compress.chat import export_chat
from tulou.model.compress.encoder import export_encoder

__all__ = ["export_chat", "export_encoder"]
