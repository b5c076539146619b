"""Dagster's own names that this code relies on: its tags, jobs, metadata and one table. They stand here alone, as text,
since those who use them must not import Dagster; `tests/unit/test_dagster_names.py` holds each against Dagster's own.
"""

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
WILL_RETRY_TAG = "dagster/will_retry"
MAX_RETRIES_TAG = "dagster/max_retries"

REPOSITORY = "__repository__"
"""Of definitions that name none."""
ASSET_JOB = "__ASSET_JOB"
"""The job of runs that are asked for assets rather than for a job."""

ROW_COUNT = "dagster/row_count"
PARTITION_ROW_COUNT = "dagster/partition_row_count"
URI = "dagster/uri"
COLUMN_SCHEMA = "dagster/column_schema"
COLUMN_LINEAGE = "dagster/column_lineage"
CODE_REFERENCES = "dagster/code_references"

HEARTBEATS_TABLE, HEARTBEAT_COLUMN, DAEMON_COLUMN = "daemon_heartbeats", "timestamp", "daemon_type"
SENSOR_DAEMON = "SENSOR"
