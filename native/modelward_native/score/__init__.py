"""The anomaly score of a request."""
