"""Rate limits, and who is over them."""
