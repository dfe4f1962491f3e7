"""Clean: documents in, better documents and a decision for each change or loss out."""

from tulou.data.clean.pipeline import clean

__all__ = ["clean"]
