"""Actors: the programs for the machine, and the public API."""
