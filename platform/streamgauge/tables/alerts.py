"""What the alert sensors remember between ticks."""

from streamgauge.ddl import Table

TABLES: tuple[Table, ...] = ()
