"""Store: cleaned tables by dataset and fingerprint, in a local folder or under any fsspec URL."""

from tulou.data.store.store import Store, open_store

__all__ = ["Store", "open_store"]
