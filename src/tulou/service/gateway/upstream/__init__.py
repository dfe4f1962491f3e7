"""The way to the replicas: raw kept-alive HTTP/1.1 connections, because a general client costs more than the gateway.

aiohttp's client takes 57 us of a request, httpx 2.4 ms; these two files take some 10 us. They speak only what a
gateway needs: POST a body, take the answer whole or as a stream of server-sent events.
"""

from tulou.service.gateway.upstream.connection import Connection, OutOfTime, ReplicaLost, Whole
from tulou.service.gateway.upstream.connections import Connections, Patience, Upstream

__all__ = ["Connection", "Connections", "OutOfTime", "Patience", "ReplicaLost", "Upstream", "Whole"]
