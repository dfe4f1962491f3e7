"""langchain-openai against a running gateway; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Order(BaseModel):
    """An order."""

    number: int
    note: str


@tool
def get_weather(city: str) -> str:
    """What the sky does over a city."""
    return f"rain over {city}"


def main() -> None:
    where: Any = {"base_url": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"], "max_retries": 0}
    chat = ChatOpenAI(model="assistant", **where)
    question = "where is my order 我的订单"
    called: Any = chat.bind_tools([get_weather]).invoke("get_weather now")
    structured: Any = chat.with_structured_output(Order, method="json_schema").invoke("order 17")
    embeddings = OpenAIEmbeddings(model="encoder", check_embedding_ctx_length=False, **where)
    answer = chat.invoke(question)
    got = {
        "chat": answer.content,
        "tokens": answer.usage_metadata and answer.usage_metadata["output_tokens"],
        "streamed": "".join(str(piece.content) for piece in chat.stream(question)),
        "tool": [call["name"] for call in called.tool_calls],
        "structured": structured.model_dump(),
        "vectors": [len(row) for row in embeddings.embed_documents(["a", "b"])],
        "completion": OpenAI(model="assistant", **where).invoke("one two"),
    }
    sys.stdout.write(json.dumps(got) + "\n")


if __name__ == "__main__":
    main()
