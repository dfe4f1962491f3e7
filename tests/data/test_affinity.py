from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.progress import Silent
from tulou.core.tables import PASSAGE
from tulou.data.search import build_index, open_index
from tulou.data.search.affinity import learn_affinity, load_affinity, prior, save_affinity

TEXTS = {
    "invoices.md": "An invoice shows the tax number and the title of the company.",
    "delivery.md": "A parcel takes three days by courier to reach you.",
    "catalogue.md": "Kettle invoice parcel tax courier title days: everything in one list.",
}
TICKETS = [
    ("invoice", "the tax number on my invoice is wrong"),
    ("invoice", "title of the company misspelt on the invoice"),
    ("delivery", "my parcel has not moved for days"),
    ("delivery", "the courier did not reach me with the parcel"),
]


def no_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.full((len(texts), 4), 0.5, dtype=np.float32)


def index_of(folder: Path):  # type: ignore[no-untyped-def]
    rows = [
        {**dict.fromkeys(PASSAGE.names, ""), "id": uri, "document_id": uri, "uri": uri, "text": text, "language": "en"}
        for uri, text in TEXTS.items()
    ]
    build_index([pa.RecordBatch.from_pylist(rows, schema=PASSAGE)], no_vectors, folder, Silent())
    return open_index(folder)


def test_tickets_of_a_label_agree_on_its_document_and_what_everything_finds_counts_for_little(tmp_path: Path) -> None:
    rows = [{"label": label, "text": text} for label, text in TICKETS]
    affinity = learn_affinity(rows, index_of(tmp_path), Silent())
    assert max(affinity["invoice"], key=affinity["invoice"].__getitem__) == "invoices.md"
    assert max(affinity["delivery"], key=affinity["delivery"].__getitem__) == "delivery.md"
    assert affinity["invoice"].get("catalogue.md", 0) < 0.5 * affinity["invoice"]["invoices.md"]


def test_a_prior_weighs_documents_by_the_probability_of_labels(tmp_path: Path) -> None:
    affinity = {"invoice": {"a": 1.0}, "delivery": {"a": 0.5, "b": 2.0}}
    save_affinity(tmp_path / "affinity.json", affinity)
    loaded = load_affinity(tmp_path / "affinity.json")
    assert prior(loaded, {"invoice": 0.8, "delivery": 0.1, "unknown": 0.1}) == {"a": 0.8 + 0.05, "b": 0.2}
    assert load_affinity(tmp_path / "none.json") == {}
