"""Measurements anyone can repeat: a labelled dirty corpus, the real pipeline and its peers on it, the search index."""
