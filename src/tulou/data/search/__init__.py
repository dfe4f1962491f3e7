"""Search: documents to passages, passages to a hybrid index, questions to hits."""

from tulou.data.search.chunk import passages
from tulou.data.search.index import SearchIndex, build_index, open_index

__all__ = ["SearchIndex", "build_index", "open_index", "passages"]
