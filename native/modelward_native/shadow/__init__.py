"""Requests mirrored to shadows, answers compared, evidence for promotions."""
