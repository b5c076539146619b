"""Synthetic traffic for any contract: a seeded generator, a paced sender, and a ledger of what the broker acknowledged."""
