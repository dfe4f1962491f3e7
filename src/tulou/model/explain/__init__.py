"""Why a model says what it says: tokens of the text, rows of the training set."""

from tulou.model.explain.attribution import Attribution, Token, attribute
from tulou.model.explain.neighbours import Neighbour, nearest
from tulou.model.explain.page import explanation_page, highlighted

__all__ = ["Attribution", "Neighbour", "Token", "attribute", "explanation_page", "highlighted", "nearest"]
