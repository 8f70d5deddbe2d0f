"""The admin API: what an operator asks of a running server, over gRPC."""
