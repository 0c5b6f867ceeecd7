"""What processes say to each other, as values and as bytes."""
