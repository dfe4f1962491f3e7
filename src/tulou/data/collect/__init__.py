"""Collect: files of many types in, DOCUMENT rows with lineage out."""

from tulou.data.collect.collect import collect
from tulou.data.collect.files import source_digest

__all__ = ["collect", "source_digest"]
