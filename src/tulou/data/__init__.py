"""Data: raw business sources in, clean Parquet and a hybrid search index out."""
