"""From trained folders to what serves: graphs pruned, distilled and quantised, measured against each other."""

from tulou.model.compress.chat import export_chat
from tulou.model.compress.compare import choose, compare
from tulou.model.compress.encoder import export_encoder, export_reranker
from tulou.model.compress.recipe import compress_chat, compress_classifier

__all__ = [
    "choose",
    "compare",
    "compress_chat",
    "compress_classifier",
    "export_chat",
    "export_encoder",
    "export_reranker",
]
