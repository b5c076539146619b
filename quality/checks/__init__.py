"""Checks beyond the row and of the row: pure functions from frames and numbers to a CheckOutcome."""
