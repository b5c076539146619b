"""Contracts: the model of a stream's file, its loading, and its rules for a single record. No server is asked here.

The model stands below the tables that are made from it; loading and checking stand above them, because a contract is
checked against their columns.
"""
