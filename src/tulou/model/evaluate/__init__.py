"""How good a model is on rows that it has not seen, measured on the graph that will be served.

Each module judges one kind of model and returns JSON-able figures; `model/card` draws them.
"""

from tulou.model.evaluate.chat import evaluate_chat, report_chat
from tulou.model.evaluate.classifier import evaluate_classifier, report_classifier, score_labels
from tulou.model.evaluate.groundedness import Answer, evaluate_groundedness
from tulou.model.evaluate.retrieval import Pair, evaluate_retrieval

__all__ = [
    "Answer",
    "Pair",
    "evaluate_chat",
    "evaluate_classifier",
    "evaluate_groundedness",
    "evaluate_retrieval",
    "report_chat",
    "report_classifier",
    "score_labels",
]
