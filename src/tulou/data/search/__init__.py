"""Search: documents to passages, passages to a hybrid index, questions to hits."""

from tulou.data.search.chunk import passages
from tulou.data.search.hybrid import Rerank, SearchIndex
from tulou.data.search.index import build_index, fill_index, open_index

__all__ = ["Rerank", "SearchIndex", "build_index", "fill_index", "open_index", "passages"]
