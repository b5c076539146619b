"""Synthetic traffic for any contract: a seeded generator and a paced sender."""
