"""A project of one's own: a folder with contracts and settings, outside this code. `streamgauge init` makes one."""
