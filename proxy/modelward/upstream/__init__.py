"""Upstream servers: their addresses, the connections kept to them, what they say about their models."""
