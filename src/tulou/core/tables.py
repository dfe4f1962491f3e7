"""What travels between stages: Arrow tables with one of these schemas, on disk as Parquet.

Apart from `core/types.py`, because pyarrow takes 60 MB and 0.15 s, which the gateway has no use for.
"""

from __future__ import annotations

import pyarrow as pa

# One row for each record collected: a whole short file, a page, a table row, a stretch of speech.
DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # stable: from source, uri and position, not from the text
        pa.field("source", pa.string(), nullable=False),  # [[data.source]] name
        pa.field("uri", pa.string(), nullable=False),  # file relative to the project, or URL
        pa.field("position", pa.string(), nullable=False),  # "page=3", "row=17", "seconds=0-12", "" for the whole
        pa.field("media_type", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # "zh", "en", "other"
        pa.field("label", pa.string()),  # what a classifier learns, where the source names a label column
        pa.field("subject_id", pa.string()),  # the person the record is about, where the source names one
        pa.field("content_hash", pa.string(), nullable=False),  # sha256 of the raw file or row
        pa.field("modified_at", pa.string(), nullable=False),  # ISO 8601, of the raw file
    ]
)

# One row for each thing a cleaning step did to a record; a record without rows was kept as it came.
DECISION = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("step", pa.string(), nullable=False),  # "encoding", "exact_duplicate", "sensitive", ...
        pa.field("rule", pa.string(), nullable=False),  # "gbk_as_latin1", "phone", "too_short", ...
        pa.field("action", pa.string(), nullable=False),  # "changed", "reported" (would be) or "dropped"
        pa.field("before", pa.string()),
        pa.field("after", pa.string()),  # for a duplicate: the id of the copy that was kept
    ]
)

PASSAGE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("position", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("heading", pa.string(), nullable=False),  # "Returns > How long do I have"
        pa.field("text", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("modified_at", pa.string(), nullable=False),  # of the document
    ]
)

# Classification rows, already split; `document_id` is the lineage back to the cleaned record.
LABELLED = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),  # "train", "validation", "test"
    ]
)

MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])

# Chat rows, already split; the loss falls on assistant messages only.
CONVERSATION = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)

# Two answers to one prompt, of which people liked `chosen` better.
PREFERENCE = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("messages", pa.list_(MESSAGE), nullable=False),  # the prompt
        pa.field("chosen", pa.string(), nullable=False),
        pa.field("rejected", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)

# A question and a passage that answers it, for a search encoder.
PAIR = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("question", pa.string(), nullable=False),
        pa.field("passage", pa.string(), nullable=False),  # as the index embeds it
        pa.field("language", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
