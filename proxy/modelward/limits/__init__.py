"""Limits: for whom they differ, and what servers share of them."""
