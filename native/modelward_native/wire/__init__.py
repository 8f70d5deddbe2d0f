"""HTTP/2 and gRPC as clients speak them: connections, streams, headers, compression, and what connections may cost."""
