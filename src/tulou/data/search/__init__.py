"""Search: documents to passages, passages to a hybrid index, questions to hits."""

from tulou.data.search.chunk import passages
from tulou.data.search.hybrid import Rerank, SearchIndex
from tulou.data.search.index import build_index, fill_index, open_index
from tulou.data.search.publish import IndexHome, open_home

__all__ = ["IndexHome", "Rerank", "SearchIndex", "build_index", "fill_index", "open_home", "open_index", "passages"]
