"""Ops: logs and metrics, beside every storey and inside none."""
