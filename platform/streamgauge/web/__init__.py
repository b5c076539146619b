"""What our HTTP servers have in common: where a request comes from. What they answer is elsewhere."""
