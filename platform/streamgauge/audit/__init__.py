"""Who changed what, and who saw personal values: an append-only log that nobody can rewrite unseen.

Every entry's digest covers the entry before it, so the log is a chain; signed checkpoints of the chain lie outside the
database. Here belong the entries, the chain, its checkpoints and their verification; what is recorded is said where it
happens.
"""
