"""Store: cleaned tables by dataset and fingerprint, in files wherever fsspec reaches or in MongoDB."""

from tulou.data.store.store import Store, open_store

__all__ = ["Store", "open_store"]
