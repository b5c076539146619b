"""From the contracts to topics, subjects, tables and rights: `plan` tells the changes, `apply` makes them.

`desired` and `actual` are two pictures of the same things, `plan` compares them and is pure, `execute` acts.
"""
