"""Multipath TCP: what the kernel tells of a connection's paths, and what it can be told of them.

Statistics of a socket (`statistics`, `inspection`), the path manager in the kernel by generic
netlink (`message`, `netlink`, `endpoint`, `event`, `paths`), its counters (`counters`), a
manager that keeps connections off dying paths (`path_guard`, `path_manager`), and, where the kernel
leaves paths to us (`path_owner`), what it would do itself (`upkeep`, `steward`).

Netlink is spoken here and nowhere else.
"""
