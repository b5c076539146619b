"""Where a number comes from: column lineage, OpenLineage events, the trace of an event."""
