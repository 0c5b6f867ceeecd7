"""Processes as the kernel has them, and the zygote that makes them."""
