"""Contract checks, reconciliation and the data-quality report."""
