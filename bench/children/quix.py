"""Quix Streams counts events by the minute, in the way its documentation shows.

In its favour all records have one key: a count for each event_id would be no rollup, and `group_by` would send every
record through another topic. With `changelog` (its default) its state outlives the process, as the worker's does.
"""
# pyright: basic, reportMissingImports=false

import json
import sys
import time
from typing import Any

from quixstreams import Application
from quixstreams.kafka.configuration import ConnectionConfig
from quixstreams.models import Deserializer, SchemaRegistryClientConfig
from quixstreams.models.serializers.avro import AvroDeserializer


class OneKey(Deserializer):
    def __call__(self, value: bytes, ctx: Any) -> str:
        del value, ctx
        return "all"


def main() -> None:
    job = json.load(sys.stdin)
    app = Application(
        broker_address=ConnectionConfig.from_librdkafka_dict(job["connection"], ignore_extras=True),
        consumer_group=job["group"],
        auto_offset_reset="earliest",
        consumer_extra_config=job["consumer"],
        state_dir=job["state_dir"],
        use_changelog_topics=job["changelog"],
        loglevel="WARNING",
    )
    registry = SchemaRegistryClientConfig(url=job["registry_url"])
    time_field = job["time_field"]
    topic = app.topic(
        job["topic"],
        key_deserializer=OneKey(),
        value_deserializer=AvroDeserializer(schema_registry_client_config=registry),
        timestamp_extractor=lambda value, headers, timestamp, kind: int(value[time_field].timestamp() * 1000),
    )
    read = 0
    began = 0.0

    def note(value: Any) -> None:
        nonlocal read, began
        read += 1
        if read == 1:
            began = time.perf_counter()
        if read == job["records"]:
            print(json.dumps({"records": read - 1, "seconds": time.perf_counter() - began}), flush=True)  # noqa: T201
            app.stop()

    windows = app.dataframe(topic).tumbling_window(duration_ms=60_000, grace_ms=120_000)
    windows.count().current().update(note)
    app.run()


if __name__ == "__main__":
    main()
