"""The evidence of final hours is written, and numbers are made again from it."""
