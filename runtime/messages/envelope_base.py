"""What all envelopes have in common; see `runtime.messages.envelope`."""

import msgspec


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The base of all that may stand in a batch."""
