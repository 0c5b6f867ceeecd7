"""The exchange of one process: pairs, credit, accounts, and who is waiting for what."""
