"""Speed against batch, hour by hour of event time: every difference explained or named, and hours made final."""
