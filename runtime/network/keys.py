"""The keys of a system. `runtime.network.key_file` keeps them.

CURVE gives every connection two key pairs. A process is known by its own, made for this one life;
the public half travels in its endpoint, so that whoever has its address can be sure whom it talks
to. Who connects shows the system's other pair, the members': it proves that he belongs to the
system, and is the whole allow-list.

Why one pair for all members, and not one each: the list would have to reach every node before a
newcomer's first connection does, or each first contact would have to ask the controller, whom a
flood of strangers could then keep busy. It would buy the withdrawal of one member's right and
proof of which member speaks; but every member runs what the controller was asked to run and may
call every handler, so one that has been taken over must end the system in either case.

A node gets its keys with its order, through the zygote's socket and a pipe: they are in no
argument, environment or file. The controller makes its own pair at start, unless a file keeps
both for a system that others join by hand.

Invariants
----------
* The secrets appear in no `repr`, and no error quotes them.
"""

import secrets
from typing import Final

import msgspec

KEY_BYTES: Final = 32


class Keys(msgspec.Struct, frozen=True, array_like=True):
    """The secret halves that one process has: its ``own``, and the ``member``s' common one."""

    own: bytes
    member: bytes

    def __repr__(self) -> str:
        return "Keys(...)"

    def for_another(self) -> "Keys":
        """Those of a new member."""
        return Keys(new_secret(), self.member)


def new_keys() -> Keys:
    """Of a new system's controller."""
    return Keys(new_secret(), new_secret())


def new_secret() -> bytes:
    """The secret half of a new pair: any 32 bytes will do (Curve25519)."""
    return secrets.token_bytes(KEY_BYTES)
