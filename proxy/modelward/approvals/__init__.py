"""Four eyes: what is proposed, who approves it, and when it is done."""
