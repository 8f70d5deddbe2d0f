"""The process that owns the sockets, the shared memory and the workers. It serves no request and opens no model."""
