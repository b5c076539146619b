"""One answer over both layers: final where the hour is final, provisional after it."""
