"""What a model file holds that it should not."""
