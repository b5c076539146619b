"""The data-quality report of a stream and day: what it says, and how it is written."""
