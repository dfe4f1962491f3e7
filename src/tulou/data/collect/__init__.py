"""Collect: files of many types and rows of databases in, DOCUMENT rows with lineage out."""

from tulou.data.collect.collect import collect, source_digest

__all__ = ["collect", "source_digest"]
