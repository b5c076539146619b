"""A new generation of a stream's rollups: filled from the lake beside the old one, then read in its place."""
