"""Databases as sources: SQL, MongoDB, Elasticsearch and Tulou's own conversations, whole or by a cursor column."""
