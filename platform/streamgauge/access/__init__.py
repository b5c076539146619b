"""Who may do what: platform/access.yaml, and what follows from it for each server.

One module a server turns the file into that server's own words. What is asked of a server stands elsewhere:
`streamgauge.apply` compares these rights with those that are there.
"""
