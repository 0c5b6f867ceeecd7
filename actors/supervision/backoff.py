"""How long a child waits for its next life.

The first restart comes at once: most deaths are accidents. A child that dies again soon waits
between nothing and a bound that doubles each time, so that what fails together does not
come back together.

Invariants
----------
* The first wait, and the first after a life of `RESET_S` seconds or more, is 0.
* The n-th wait after that is at most ``min(LONGEST_S, FIRST_S * 2 ** (n - 1))`` seconds.
* Time and chance are arguments.

Source: "full jitter", from the AWS Architecture Blog's "Exponential Backoff And Jitter".
"""

FIRST_S = 0.1
LONGEST_S = 10.0
RESET_S = 60.0


class Backoff:
    """The waits of one child."""

    def __init__(self) -> None:
        self._bound_s = 0.0

    def next_s(self, lived_s: float, chance: float) -> float:
        """How long to wait now.

        Args:
            lived_s: how long the life that has just ended was.
            chance: in [0, 1).
        """
        if lived_s >= RESET_S:
            self._bound_s = 0.0
        wait_s = self._bound_s * chance
        self._bound_s = min(max(FIRST_S, self._bound_s * 2), LONGEST_S)
        return wait_s
