"""The tree in a file, so that it can come back after its controller."""
