"""`python -m streamgauge.cli`."""

from streamgauge.cli import main

main()
