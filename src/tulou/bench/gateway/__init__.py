"""`tulou bench gateway`: what the gateway costs, beside nginx, LiteLLM and Envoy doing the same work."""
