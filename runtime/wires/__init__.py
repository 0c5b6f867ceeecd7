"""Transports: how bytes get from one process to another, and what each wire promises."""
