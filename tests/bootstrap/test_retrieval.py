from tulou.bootstrap.retrieval import lend
from tulou.core.types import Hit, Passage


def hit(uri: str, score: float) -> Hit:
    return Hit(Passage(uri, uri, "knowledge", uri, "", uri, "", "text", "en"), score, 0.5, 0.5)


def test_a_document_that_tickets_of_this_kind_are_about_overtakes_a_slightly_better_one() -> None:
    lent = lend([hit("catalogue.md", 1.0), hit("returns.md", 0.9)], {"returns.md": 0.3}, weight=1.0)
    assert [each.passage.uri for each in lent] == ["returns.md", "catalogue.md"]


def test_without_a_prior_nothing_changes() -> None:
    hits = [hit("a", 1.0), hit("b", 0.5)]
    assert lend(hits, {}) == hits
