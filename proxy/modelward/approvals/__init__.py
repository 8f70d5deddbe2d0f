"""Four eyes: what is proposed, who approves it, and when it is done."""

FILE = "proposals.json"
"""Where proposals are kept, in the state folder."""
