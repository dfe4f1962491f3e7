"""Somebody else's server of OpenAI's protocol, in the standard library alone: what vLLM or llama.cpp are to us."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--load-s", type=float, default=0.0, help="until it is ready")
    parser.add_argument("--child", action="store_true", help="also start a process that would outlive it")
    args = parser.parse_args()
    if args.child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    ready_at = time.monotonic() + args.load_s

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.say(200 if self.path == "/health" and time.monotonic() >= ready_at else 503, {})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if args.api_key and self.headers["authorization"] != f"Bearer {args.api_key}":
                self.say(401, {"error": {"message": "wrong key", "type": "invalid_request_error"}})
            elif asked["model"] != args.model:
                self.say(404, {"error": {"message": f"no model {asked['model']}", "type": "invalid_request_error"}})
            else:
                self.answer(asked)

        def answer(self, asked: dict[str, Any]) -> None:
            words = f"{args.model} says {asked['messages'][-1]['content']}"
            usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
            if not asked.get("stream"):
                message = {"role": "assistant", "content": words}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                self.say(200, {"id": "x", "object": "chat.completion", "choices": choices, "usage": usage})
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for word in words.split():
                self.event({"choices": [{"index": 0, "delta": {"content": word + " "}, "finish_reason": None}]})
            self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self.event({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")

        def event(self, value: dict[str, Any]) -> None:
            body = {"id": "x", "object": "chat.completion.chunk", **value}
            self.wfile.write(b"data: " + json.dumps(body).encode() + b"\n\n")
            self.wfile.flush()

        def say(self, status: int, value: dict[str, Any]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
