"""Virtual time over real processes."""
