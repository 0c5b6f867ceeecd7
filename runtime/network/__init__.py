"""What a process needs on a network before it says anything: places to listen, keys, a gate."""
