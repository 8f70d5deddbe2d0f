"""Detection over time: who is suspected, what that brings, and what operators decide about it."""
