"""The audit trail: what people and the server itself have changed, in a log that cannot be rewritten unnoticed."""
