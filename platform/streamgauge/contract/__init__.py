"""Contracts: the model of a stream's file, its loading, and its rules for a single record. No server is asked here."""
