"""A first contract for a topic that others write, guessed from a sample of its records. No value of a record leaves
this package: what is written and shown are names, types, lengths and shares.
"""
