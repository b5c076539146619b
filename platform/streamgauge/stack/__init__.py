"""The servers that Streamgauge needs, on this machine and for this user only.

One instance (`demo`, `test`) is a data folder, a range of ports and a supervisor of its own.
"""
