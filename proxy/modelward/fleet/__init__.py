"""What several servers know together: promotions, and what was counted of them."""
