"""Who takes part: nginx as the upstream of all, and ours, nginx, LiteLLM and Envoy before it.

Each is asked for what it can do of the same work: nginx and Envoy compare a key with one they know and relay; LiteLLM
checks it, counts and retries, as ours does. nginx and Envoy take no accounts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tulou.bench.gateway.load import BODY, MODEL, tool
from tulou.bench.gateway.ours import make_key
from tulou.bench.gateway.processes import GATEWAY_CORE, LOAD_CORE, Program, free_port
from tulou.bench.peers import environment

PEER_KEY = "sk-bench"
_STREAMS = "/streams/v1/chat/completions"  # at those that choose by path

_ANSWER = json.dumps(  # about 1 KB
    {
        "id": "chatcmpl-0123456789abcdef0123456789abcdef",
        "object": "chat.completion",
        "created": 1760000000,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Your kettle leaves our warehouse tomorrow and takes three working days. " * 9,
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 212, "completion_tokens": 128, "total_tokens": 340},
        "system_fingerprint": "fp_bench",
    }
)

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u; scgi_temp_path {folder}/{name}-s;
  {rest}
}}
"""


def nginx_upstream(folder: Path, core: int | None = LOAD_CORE) -> Program:
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; return 200 '{_ANSWER}'; }}"
    return Program("upstream", _nginx(folder, "upstream", server), port, core, path="/")


def nginx_proxy(folder: Path, upstream: str, streams: str) -> Program:
    port = free_port()
    keyed = f'if ($http_authorization != "Bearer {PEER_KEY}") {{ return 401; }}'
    relay = 'proxy_http_version 1.1; proxy_set_header connection ""; proxy_buffering off;'
    servers = "".join(
        f"  upstream {name} {{ server {url.removeprefix('http://')}; keepalive 256; keepalive_requests 1000000000; }}\n"
        for name, url in (("model", upstream), ("streams", streams))
    )
    rest = f"""{servers}
  server {{
    listen 127.0.0.1:{port};
    {keyed}
    location / {{ proxy_pass http://model; {relay} }}
    location /streams/ {{ proxy_pass http://streams/; {relay} }}
  }}"""
    return Program("nginx", _nginx(folder, "nginx", rest), port, body=BODY, key=PEER_KEY, streams_path=_STREAMS)


def tulou_gateway(folder: Path, upstream: str, streams: str, workers: int = 0) -> Program:
    """In one process; with `workers`, in a main process and so many others, on any core."""
    port = free_port()
    command = [sys.executable, "-m", "tulou.bench.gateway.ours", "--folder", str(folder), "--port", str(port)]
    command += ["--upstream", f"{MODEL}={upstream}", "--upstream", f"streams={streams}"]
    command += ["--workers", str(workers)] if workers else []
    return Program("tulou", command, port, None if workers else GATEWAY_CORE, body=BODY, key=make_key(folder))


def litellm_proxy(folder: Path, upstream: str, streams: str) -> Program:
    python, port = environment("litellm"), free_port()
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": f"{url}/v1", "api_key": "none"}}
        for name, url in ((MODEL, upstream), ("streams", streams))
    ]
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": PEER_KEY}}))
    command = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False"}
    return Program("litellm", [*command, "--num_workers", "1"], port, environ=quiet, body=BODY, key=PEER_KEY)


def envoy_proxy(folder: Path, upstream: str, streams: str) -> Program:
    python, port = environment("envoy"), free_port()
    config = folder / "envoy.json"
    config.write_text(json.dumps(_envoy(port, {"model": upstream, "streams": streams})))
    command = [str(python.with_name("envoy")), "-c", str(config), "--concurrency", "1", "-l", "error"]
    return Program("envoy", [*command, "--disable-hot-restart"], port, body=BODY, key=PEER_KEY, streams_path=_STREAMS)


def _nginx(folder: Path, name: str, rest: str) -> list[str]:
    config = folder / f"{name}.conf"
    config.write_text(_NGINX.format(folder=folder, name=name, rest=rest))
    return [tool("nginx"), "-c", str(config), "-p", str(folder)]


def _envoy(port: int, upstreams: Mapping[str, str]) -> object:
    def address(number: int) -> object:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    def route(prefix: str, cluster: str) -> object:
        match = {
            "prefix": prefix,
            "headers": [{"name": "authorization", "string_match": {"exact": f"Bearer {PEER_KEY}"}}],
        }
        return {"match": match, "route": {"cluster": cluster, "prefix_rewrite": "/", "timeout": "60s"}}

    def cluster(name: str, url: str) -> object:
        endpoint = {"endpoint": {"address": address(int(url.rpartition(":")[2]))}}
        assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
        return {"name": name, "type": "STATIC", "load_assignment": assignment}

    extensions = "type.googleapis.com/envoy.extensions.filters"
    routes = [route("/streams/", "streams"), route("/", "model")]
    manager = {
        "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{extensions}.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "in", "address": address(port), "filter_chains": [chain]}
    clusters = [cluster(name, url) for name, url in upstreams.items()]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}
