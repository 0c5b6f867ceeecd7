"""An audit in words.

Invariants
----------
* One line, unless its last words are ``unbalanced N``: then N lines follow, and an empty one.
"""

import json

from runtime.messages.accounts import Audit


def audited(audit: Audit) -> str:
    """The totals, and what cannot be known or does not balance."""
    words = [
        f"sent {audit.sent} handled {audit.handled} failed {audit.failed} expired {audit.expired} "
        f"rejected {audit.rejected} undelivered {audit.undelivered} in-flight {audit.in_flight}"
    ]
    for word, count in (
        ("unreported", audit.unreported),
        ("silent", len(audit.silent)),
        ("unbalanced", len(audit.unbalanced)),
    ):
        if count:
            words.append(f" {word} {count}")
    words.append("\n")
    if audit.unbalanced:
        words += (f"{pair}\n" for pair in audit.unbalanced)
        words.append("\n")
    return "".join(words)


def audited_json(audit: Audit) -> str:
    """An object with the fields of `Audit`; silent nodes are names."""
    fields: dict[str, object] = {
        "sent": audit.sent,
        "handled": audit.handled,
        "failed": audit.failed,
        "expired": audit.expired,
        "rejected": audit.rejected,
        "undelivered": audit.undelivered,
        "in_flight": audit.in_flight,
        "unreported": audit.unreported,
        "silent": audit.silent,
        "unbalanced": [
            {
                "source": pair.source,
                "target": pair.target,
                "sent": pair.sent,
                "accounted": pair.accounted,
            }
            for pair in audit.unbalanced
        ],
    }
    return json.dumps(fields)
