"""The language in which contracts compute values of events: SQL's scalar expressions, checked at load and compiled to
polars. What an expression means is here; where contracts use one, and what is made of it, is not.
"""
