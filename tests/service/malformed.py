"""Requests that no good client sends: as many as wanted, the same ones for the same seed, each as raw bytes.

Wrong JSON, wrong types, wrong charsets, wrong lengths, wrong headers, two requests that pretend to be one. `attack`
sends them to a running gateway over connections of their own and tells what came back.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

LIMIT_BYTES = 100_000  # of a body, as the tests' gateway has it
ANSWER_S = 15.0
AT_ONCE = 32

GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "assistant", "messages": [{"role": "user", "content": "hi 你"}], "max_tokens": 3},
    "/v1/completions": {"model": "assistant", "prompt": "a b", "max_tokens": 3},
    "/v1/embeddings": {"model": "encoder", "input": ["a", "b"]},
    "/v1/rerank": {"model": "encoder", "query": "a", "documents": ["b", "c"]},
    "/v1/classify": {"model": "intents", "input": "refund"},
}
FIELDS = (  # noqa: SIM905 -- shorter so
    "model messages prompt input query documents max_tokens max_completion_tokens temperature top_p n stop stream "
    "stream_options seed logit_bias logprobs top_logprobs tools tool_choice response_format user metadata begun echo "
    "best_of suffix encoding_format dimensions top_k top_n modalities"
).split()
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, 2**64, 10**40, 1e308, -0.0, "", "x", "\x00", "\u2028", "我" * 50, [], {}, [[]],
    [None], {"": None}, ["a"] * 70, [1, "a"], [-1], [2**40], {"type": "text"}, {"type": "json_schema"},
    {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "objct"}}}, {"include_usage": "yes"},
    [{"role": "user", "content": "x"}] * 3, [{"role": "tool", "content": "x", "tool_call_id": ""}],
    [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "["}}]}],
    [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}], {"function": {"name": "g"}},
)  # fmt: skip


def wrong_types(rng: random.Random, body: dict[str, Any]) -> bytes:
    for _ in range(rng.randint(1, 4)):
        body[rng.choice(FIELDS)] = rng.choice(ODD)
    return json.dumps(body).encode()


def broken_text(rng: random.Random, body: dict[str, Any]) -> bytes:
    raw = bytearray(json.dumps(body, ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(raw))
        kind = rng.randrange(4)
        if kind == 0:
            raw[place] = rng.randrange(256)
        elif kind == 1:
            raw.insert(place, rng.choice((0, 0xFF, 0xC0, 0x22, 0x5C, 0x7B, 0x5B)))
        elif kind == 2:
            del raw[place]
        else:
            del raw[place:]
            raw.extend(b"\xed\xa0\x80" if rng.random() < 0.5 else b"")
        if not raw:
            raw.extend(b"{")
    return bytes(raw)


def strange_json(rng: random.Random, body: dict[str, Any]) -> bytes:
    name, deep = rng.choice(FIELDS), rng.choice((10, 1000, 20_000))
    return rng.choice(
        (
            b"", b"\x00" * 40, b"null", b"[]", b'"x"', b"NaN", b"1e999", b'{"model":1e999}', b'{"a":' * 5000,
            b"[" * 60_000, b'{"%b":' % name.encode() + b"[" * deep + b"]" * deep + b"}",
            b'{"%b":' % name.encode() + b'{"a":' * (deep // 3) + b"1" + b"}" * (deep // 3 + 1),
            json.dumps(body).encode()[:-1] + b',"model":"assistant","model":"x"}', json.dumps(body).encode() + b"}",
            b"\xef\xbb\xbf" + json.dumps(body).encode(), b'{"model":"\\ud800","messages":"\\udc00"}',
            json.dumps({**body, name: "x" * rng.choice((10, 90_000, 99_000))}).encode(),
            json.dumps({**body, name: int("9" * rng.choice((5, 19, 400)))}).encode(),
        )
    )  # fmt: skip


def other_charset(rng: random.Random, body: dict[str, Any]) -> bytes:
    text = json.dumps(body, ensure_ascii=False)
    return text.encode(rng.choice(("utf-16", "utf-32-be", "gb18030", "utf-7", "big5")))


BODIES: tuple[Callable[[random.Random, dict[str, Any]], bytes], ...] = (
    wrong_types, wrong_types, broken_text, strange_json, other_charset,
)  # fmt: skip


@dataclass
class Request:
    """What is sent, in pieces; `is_whole` where an answer or a closed connection is owed."""

    kind: str
    raw: bytes
    is_whole: bool = True
    answers: int = 1  # at most


def make(rng: random.Random, key: str) -> Request:
    path, body = rng.choice(list(GOOD.items()))
    kinds = (odd_body, odd_body, odd_body, odd_body, odd_length, odd_header, odd_line, smuggled, odd_chunks, too_large)
    return rng.choice(kinds)(rng, key, path, dict(body))


def _head(path: str, key: str, *more: str, length: int | str | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: gateway", f"Authorization: Bearer {key}", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def odd_body(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    make_body = rng.choice(BODIES)
    raw = make_body(rng, body)
    kind = rng.choice(
        ("application/json", "application/json; charset=utf-16", "text/plain", "multipart/form-data", "\xff")
    )
    more = [f"Content-Type: {kind}", *(["Content-Encoding: gzip"] if rng.random() < 0.1 else [])]
    return Request(make_body.__name__, _head(path, key, *more, length=len(raw)) + raw)


def odd_length(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    raw = json.dumps(body).encode()
    length = rng.choice(
        ("-1", "+5", "0x10", "1e3", " ", "9" * 30, "5, 5", "\xb5", f"{len(raw)} ", str(len(raw) + 50), "3")
    )
    return Request("odd_length", _head(path, key, length=length) + raw, is_whole=False, answers=2)


def odd_header(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    raw = json.dumps(body).encode()
    odd = rng.choice(
        (
            "X: " + "a" * 70_000, "X\x00: 1", "X: \x00", "X: a\rb", "X: a\nY: b", ": empty", "no colon", " folded: x",
            "X: 1\r\n folded", "Transfer_Encoding: chunked", "Content-Length : 3", "Expect: 100-continue",
            "Expect: nonsense", "Upgrade: websocket\r\nConnection: upgrade", "Connection: close, keep-alive",
            "Host: other", "Authorization: Basic eDp5", "Authorization: Bearer \xff\xfe", "Cookie: " + "a=b;" * 500,
            "x-request-id: req_" + "0" * 4000, "x-conversation-id: " + "\xe9" * 300,
            "\r\n".join(f"X-{i}: {i}" for i in range(rng.choice((50, 2000)))),
        )
    )  # fmt: skip
    return Request("odd_header", _head(path, key, odd, length=len(raw)) + raw, is_whole=False, answers=2)


def odd_line(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    line = rng.choice(
        (
            "GET / HTTP/0.9", "GET", "\x16\x03\x01\x02\x00\x01", "PRI * HTTP/2.0", "POST  /v1/models  HTTP/1.1",
            "\x00" * 50,
            f"POST {path} HTTP/9.9", f"POST http://elsewhere{path} HTTP/1.1", f"POST {path}?{'a' * 9000} HTTP/1.1",
            f"DELETE {path} HTTP/1.1", f"POST {path}/../../etc/passwd HTTP/1.1", f"POST {path}%00 HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            f"CONNECT {path} HTTP/1.1", "GET /v1/models/%ff%fe HTTP/1.1", f"post {path} HTTP/1.1",
            "GET /metrics HTTP/1.1",
            f"POST {path}\xff HTTP/1.1", "GET /v1/models/" + "m" * 5000 + " HTTP/1.1", f"POST {path} HTTP/1.0",
        )
    )  # fmt: skip
    head = f"{line}\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\nContent-Length: 2\r\n\r\n"
    return Request("odd_line", head.encode("latin-1") + b"{}", is_whole=False, answers=2)


def smuggled(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    """Two lengths that disagree, so that one reader sees one request and another two."""
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    raw = b"0\r\n\r\n" + hidden
    heads = (
        _head(path, key, "Transfer-Encoding: chunked", length=len(raw)),
        _head(path, key, "Content-Length: 4", length=len(raw)),
        _head(path, key, "Transfer-Encoding: identity, chunked", length=5),
        _head(path, key, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", length=5),
        _head(path, key, "Transfer-Encoding: xchunked", length=len(raw)),
        _head(path, key, "Transfer-Encoding:\x0bchunked", length=len(raw)),
    )
    return Request("smuggled", rng.choice(heads) + raw, is_whole=False)


def odd_chunks(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    raw = json.dumps(body).encode()
    chunks = rng.choice(
        (
            b"zz\r\n" + raw, b"-1\r\n" + raw, b"fffffffffffffffff\r\n" + raw,
            b"%x;%b\r\n%b\r\n0\r\n\r\n" % (len(raw), b"e" * 9000, raw),
            b"%x\n%b\n0\n\n" % (len(raw), raw), b"%x\r\n%bXX0\r\n\r\n" % (len(raw), raw), b"0\r\n\r\n",
            b"%x\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(raw), raw),
            b"".join(b"1\r\n%c\r\n" % byte for byte in raw) + b"0\r\n\r\n",
        )
    )  # fmt: skip
    return Request("odd_chunks", _head(path, key, "Transfer-Encoding: chunked") + chunks, is_whole=False, answers=2)


def too_large(rng: random.Random, key: str, path: str, body: dict[str, Any]) -> Request:
    size = LIMIT_BYTES + rng.choice((1, 1000, 400_000))
    raw = json.dumps({**body, "user": "x" * size}).encode()
    if rng.random() < 0.5:
        return Request("too_large", _head(path, key, length=len(raw)) + raw)
    return Request(
        "too_large", _head(path, key, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(raw), raw)
    )


_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass
class Findings:
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)  # 0: closed without an answer
    problems: list[str] = field(default_factory=list)


async def attack(url: str, key: str, count: int, seed: int = 0) -> Findings:
    """Send `count` malformed requests, and tell what came back."""
    found, rng, numbers = Findings(), random.Random(seed), iter(range(count))

    async def attacker() -> None:
        for number in numbers:
            await one(number, make(rng, key))

    async def one(number: int, request: Request) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await _send(url, request)
        except TimeoutError:
            found.problems.append(f"{number} {request.kind}: no answer within {ANSWER_S:g} s to {request.raw[:300]!r}")
            return
        statuses = [int(status) for status in _STATUS.findall(answer)]
        found.statuses.update((request.kind, status) for status in statuses or [0])
        if any(status >= 500 for status in statuses):
            found.problems.append(f"{number} {request.kind}: {answer[:400]!r} to {request.raw[:600]!r}")
        if len(statuses) > request.answers:
            found.problems.append(
                f"{number} {request.kind}: {len(statuses)} answers to one request: {request.raw[:300]!r}"
            )
        if request.is_whole and not statuses:
            found.problems.append(f"{number} {request.kind}: no answer to {request.raw[:300]!r}")

    await asyncio.gather(*(attacker() for _ in range(AT_ONCE)))
    return found


async def _send(url: str, request: Request) -> bytes:
    """What came back, until the other side closed; ours is closed for writing once all is sent."""
    reader, writer = await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port)
    answer = b""
    try:
        writer.write(request.raw)
        await writer.drain()
        if request.is_whole:
            answer = await _whole_answer(reader)
        else:
            writer.write_eof()
            answer = await reader.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        answer += b""  # closed on us, which is an answer to nonsense
    finally:
        writer.close()
    return answer


async def _whole_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"(?i)content-length: (\d+)", head):
        return head + await reader.readexactly(int(length[1]))
    return head + await reader.readuntil(b"0\r\n\r\n")
