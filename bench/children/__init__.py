"""Programs that the bench runs as processes of their own: a job in JSON on stdin, one line of JSON on stdout.

They import nothing of Streamgauge, for some run in another Python environment (bench/quix.lock).
"""
