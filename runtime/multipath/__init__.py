"""Multipath TCP: what the kernel tells of a connection's paths, and what it can be told of them.

Statistics of a socket (`statistics`, `inspection`), the path manager in the kernel by generic
netlink (`message`, `netlink`, `endpoint`, `event`, `paths`), its counters (`counters`), and
a manager that keeps connections off dying paths (`path_guard`, `path_manager`).

Netlink is spoken here and nowhere else.
"""
