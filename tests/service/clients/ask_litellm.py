"""litellm as a client against a running gateway; prints what it got as one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks GitHub for prices when imported

import litellm


def main() -> None:
    where: Any = {"api_base": os.environ["OPENAI_BASE_URL"], "api_key": os.environ["OPENAI_API_KEY"], "num_retries": 0}
    messages = [{"role": "user", "content": "where is my order 我的订单"}]
    answer: Any = litellm.completion(model="openai/assistant", messages=messages, **where)
    stream: Any = litellm.completion(model="openai/assistant", messages=messages, stream=True, **where)
    several: Any = litellm.completion(model="openai/assistant", messages=messages, n=2, **where)
    vectors: Any = litellm.embedding(model="openai/encoder", input=["a", "b"], **where)
    ranked: Any = litellm.rerank(
        model="jina_ai/encoder", query="an order", documents=["a bill", "an order"], top_n=1,
        api_base=f"{where['api_base']}/rerank", api_key=where["api_key"],
    )  # fmt: skip
    got: dict[str, Any] = {
        "chat": answer.choices[0].message.content,
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in stream),
        "choices": [choice.index for choice in several.choices],
        "vectors": [len(each["embedding"]) for each in vectors.data],
        "ranked": [each["index"] for each in ranked.results],
    }
    try:
        litellm.completion(model="openai/nobody", messages=messages, **where)
    except litellm.NotFoundError as err:
        got["error"] = err.status_code
    sys.stdout.write(json.dumps(got) + "\n")


if __name__ == "__main__":
    main()
