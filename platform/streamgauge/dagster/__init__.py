"""What those need who speak of Dagster without importing it: keys of assets, hours as partitions, a client of its web
server.
"""
