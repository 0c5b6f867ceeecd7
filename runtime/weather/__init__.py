"""What a memory network does to messages on purpose."""
