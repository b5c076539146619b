"""How fast the worker is, beside what else could read the same topic, and how late its answers are: `make bench`."""
