"""Who has fallen silent, and what has become of them."""
