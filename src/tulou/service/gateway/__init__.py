"""Gateway: one port with OpenAI's shapes in front of the replicas.

Policy is pure and knows no HTTP (`balance`, `dispatch`, `keys`, `live`); `wire` and `refusals` are the shapes on the
line; `upstream` speaks to replicas, `app` to clients.
"""
