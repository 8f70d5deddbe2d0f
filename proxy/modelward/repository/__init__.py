"""The model repository on disk: its models and versions, and files read with bounds. Nothing is opened."""
