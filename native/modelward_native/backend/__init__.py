"""What answers a request: models that run here, and upstream servers."""
