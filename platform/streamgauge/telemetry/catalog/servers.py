"""What Prometheus keeps of the servers' exporters, by the name of its job: they have thousands of series more."""

from streamgauge.telemetry.catalog.model import Emitter, LibraryMetric

JOBS = (Emitter.POSTGRES, Emitter.REDIS, Emitter.KAFKA, Emitter.HOST, Emitter.PROCESSES)


def _postgres(name: str, unit: str, meaning: str, *labels: str) -> LibraryMetric:
    return LibraryMetric(name, unit, meaning, (Emitter.POSTGRES,), ("server", *labels))


def _redis(name: str, unit: str, meaning: str, *labels: str) -> LibraryMetric:
    return LibraryMetric(name, unit, meaning, (Emitter.REDIS,), labels)


def _kafka(name: str, unit: str, meaning: str, *labels: str) -> LibraryMetric:
    return LibraryMetric(name, unit, meaning, (Emitter.KAFKA,), labels)


def _host(name: str, unit: str, meaning: str, *labels: str) -> LibraryMetric:
    return LibraryMetric(name, unit, meaning, (Emitter.HOST,), labels)


def _process(name: str, unit: str, meaning: str, *labels: str) -> LibraryMetric:
    name = f"namedprocess_namegroup_{name}"
    return LibraryMetric(name, unit, meaning, (Emitter.PROCESSES,), ("groupname", *labels))


_DATABASE = ("datid", "datname")
_FILESYSTEM = ("device", "fstype", "mountpoint")

SERVERS = (
    LibraryMetric("pg_up", "1", "Whether Postgres answers its exporter.", (Emitter.POSTGRES,)),
    _postgres("pg_stat_activity_count", "{connection}", "Connections.", "datname", "state"),
    _postgres("pg_stat_activity_max_tx_duration", "s", "Age of the oldest transaction.", "datname", "state"),
    _postgres("pg_locks_count", "{lock}", "Locks held or waited for.", "datname", "mode"),
    _postgres("pg_stat_database_deadlocks", "{deadlock}", "Deadlocks.", *_DATABASE),
    _postgres("pg_stat_database_xact_commit", "{transaction}", "Transactions committed.", *_DATABASE),
    _postgres("pg_stat_database_xact_rollback", "{transaction}", "Transactions rolled back.", *_DATABASE),
    _postgres("pg_stat_database_blks_hit", "{block}", "Blocks found in Postgres's memory.", *_DATABASE),
    _postgres("pg_stat_database_blks_read", "{block}", "Blocks that were not.", *_DATABASE),
    _postgres("pg_stat_database_temp_bytes", "By", "Written for sorts that memory was too small for.", *_DATABASE),
    _postgres("pg_database_size_bytes", "By", "Room that a database takes.", "datname"),
    _postgres("pg_stat_bgwriter_checkpoints_req_total", "{checkpoint}", "Checkpoints that the log's size forced."),
    _postgres("pg_wal_written_bytes", "By", "Write-ahead log ever written."),
    _postgres("streamgauge_table_size_bytes", "By", "Room of a table with its indexes and chunks.", "table"),
    _postgres("pg_statement_seconds", "s", "Time of the 20 costliest kinds of statements.", "queryid"),
    _postgres("pg_statement_calls", "{call}", "How often they ran; pg_stat_statements has their text.", "queryid"),
    _redis("redis_up", "1", "Whether Redis answers its exporter."),
    _redis("redis_connected_clients", "{client}", "Connections."),
    _redis("redis_memory_used_bytes", "By", "Memory in use."),
    _redis("redis_memory_max_bytes", "By", "The most it may use; full, it refuses writes."),
    _redis("redis_db_keys", "{key}", "Keys.", "db"),
    _redis("redis_evicted_keys_total", "{key}", "Keys dropped for want of memory."),
    _redis("redis_keyspace_hits_total", "{key}", "Keys asked for and found."),
    _redis("redis_keyspace_misses_total", "{key}", "Keys asked for and not found."),
    _redis("redis_commands_total", "{command}", "Commands.", "cmd"),
    _redis("redis_commands_duration_seconds_total", "s", "Time they took.", "cmd"),
    _redis("redis_slowlog_length", "{command}", "Slow commands that are remembered."),
    _redis("redis_rejected_connections_total", "{connection}", "Connections refused."),
    _kafka("jvm_memory_used_bytes", "By", "Memory of the JVM in use.", "area"),
    _kafka("jvm_memory_max_bytes", "By", "The most it may use; -1 for no limit.", "area"),
    _kafka("jvm_gc_collection_seconds_count", "{collection}", "Garbage collections.", "gc"),
    _kafka("jvm_gc_collection_seconds_sum", "s", "Time they took.", "gc"),
    _kafka("jvm_threads_current", "{thread}", "Threads of the JVM."),
    _kafka("kafka_topics_messagesin_total", "{record}", "Records appended."),
    _kafka("kafka_topics_bytesin_total", "By", "Bytes appended."),
    _kafka("kafka_topics_bytesout_total", "By", "Bytes fetched."),
    _kafka("kafka_topics_failedproducerequests_total", "{request}", "Requests to append that failed."),
    _kafka("kafka_topics_failedfetchrequests_total", "{request}", "Requests to fetch that failed."),
    _kafka("kafka_requests_total", "{request}", "Requests.", "request", "version"),
    _kafka("kafka_request_p99_milliseconds", "ms", "Time within which 99 % are answered.", "request"),
    _kafka("kafka_request_handlers_idle_ratio", "1", "Share of time in which request handlers are idle."),
    _kafka("kafka_under_replicated_partitions", "{partition}", "Partitions with replicas that lag."),
    _kafka("kafka_offline_partitions", "{partition}", "Partitions without a leader."),
    _kafka("kafka_log_size_bytes", "By", "Size of a partition's log.", "topic", "partition"),
    _kafka("kafka_group_rebalances_total", "{rebalance}", "Rebalances of consumer groups.", "protocol"),
    _host("node_cpu_seconds_total", "s", "CPU time.", "cpu", "mode"),
    _host("node_load1", "{process}", "Processes that run or want to, over a minute."),
    _host("node_memory_MemAvailable_bytes", "By", "Memory that programs could still get."),
    _host("node_memory_MemTotal_bytes", "By", "Memory of the machine."),
    _host("node_filesystem_avail_bytes", "By", "Room left on a disk.", *_FILESYSTEM),
    _host("node_filesystem_size_bytes", "By", "Size of a disk.", *_FILESYSTEM),
    _host("node_disk_read_bytes_total", "By", "Read from a disk.", "device"),
    _host("node_disk_written_bytes_total", "By", "Written to a disk.", "device"),
    _host("node_disk_io_time_seconds_total", "s", "Time in which a disk was busy.", "device"),
    _process("num_procs", "{process}", "Processes of a part, its children included."),
    _process("num_threads", "{thread}", "Their threads."),
    _process("memory_bytes", "By", "Their memory.", "memtype"),
    _process("cpu_seconds_total", "s", "Their CPU time.", "mode"),
    _process("open_filedesc", "{file}", "Their open files and sockets."),
    _process("oldest_start_time_seconds", "s", "When the first of them started."),
)
