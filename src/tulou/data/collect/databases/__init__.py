"""Databases as sources: SQL, MongoDB, Elasticsearch and Tulou's own conversations, whole or by a cursor column."""

from tulou.data.collect.databases.collect import collect_database, database_digest, is_database

__all__ = ["collect_database", "database_digest", "is_database"]
