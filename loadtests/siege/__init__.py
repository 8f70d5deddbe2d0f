"""The siege: honest tenants and attackers at once, through Modelward or through another proxy in its place."""
