"""Who may ask the API."""

from streamgauge.ddl import Table

TABLES: tuple[Table, ...] = ()
