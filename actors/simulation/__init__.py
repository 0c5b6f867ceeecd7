"""How large a tree can be, measured in virtual time."""
