"""Correct typos in English and Chinese by what the corpus itself shows, and leave alone what is unsure."""

from tulou.data.clean.spelling.correction import Correction
from tulou.data.clean.spelling.counts import Counts, count, merge
from tulou.data.clean.spelling.speller import Speller, learn

__all__ = ["Correction", "Counts", "Speller", "count", "learn", "merge"]
