"""Stores: clients of Postgres, Redis, Kafka and the lake, and the tables in them. What the rows mean is decided
elsewhere.
"""
