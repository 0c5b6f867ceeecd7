"""The byte by which routers tell one kind of traffic from another.

Source: RFC 2474, 3, and RFC 3168, 5: six bits are a user's, the two low ones congestion's (ECN).
"""


def check_tos(tos: int) -> int:
    """The same.

    Raises:
        ValueError: not one byte, or with one of the two low bits, which are ECN's: the kernel would
            clear them without a word.
    """
    if not 0 <= tos <= 255 or tos & 3:
        raise ValueError(f"a type of service is one byte with its low two bits clear, not {tos}")
    return tos
