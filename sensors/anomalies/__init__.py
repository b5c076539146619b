"""Minutes that are complete are judged, once each: what is known of their series stands in Postgres."""
