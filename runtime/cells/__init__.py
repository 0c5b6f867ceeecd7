"""The frame around an actor, and what callers and handlers see of each other."""
