"""Service: model folders in, an OpenAI-compatible gateway over self-healing replicas out."""
