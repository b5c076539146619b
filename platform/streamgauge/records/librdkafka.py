"""The functions of librdkafka that fetching needs, from the library that confluent-kafka brings and has loaded.

https://docs.confluent.io/platform/current/clients/librdkafka/html/rdkafka_8h.html
"""

import ctypes
from typing import Any

from confluent_kafka import cimpl

NO_CONSUMER_CLOSE = 8
"""For `rd_kafka_destroy_flags`: a consumer that joined no group has none to leave."""

_CONSUMER = 1
_ERROR_CHARACTERS = 512


class TopicPartition(ctypes.Structure):
    _fields_ = (
        ("topic", ctypes.c_char_p),
        ("partition", ctypes.c_int32),
        ("offset", ctypes.c_int64),
        ("metadata", ctypes.c_void_p),
        ("metadata_size", ctypes.c_size_t),
        ("opaque", ctypes.c_void_p),
        ("err", ctypes.c_int),
        ("_private", ctypes.c_void_p),
    )


def _load() -> ctypes.CDLL:
    # what a module was linked with is found through it, wherever that lies
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, long = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (ctypes.c_int, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [ctypes.c_int, pointer, text, ctypes.c_size_t]),
        "rd_kafka_poll_set_consumer": (ctypes.c_int, [pointer]),
        "rd_kafka_destroy_flags": (None, [pointer, ctypes.c_int]),
        "rd_kafka_queue_get_consumer": (pointer, [pointer]),
        "rd_kafka_queue_destroy": (None, [pointer]),
        "rd_kafka_consume_batch_queue": (ctypes.c_ssize_t, [pointer, ctypes.c_int, pointer, ctypes.c_size_t]),
        "rd_kafka_topic_partition_list_new": (pointer, [ctypes.c_int]),
        "rd_kafka_topic_partition_list_add": (ctypes.POINTER(TopicPartition), [pointer, text, ctypes.c_int32]),
        "rd_kafka_topic_partition_list_destroy": (None, [pointer]),
        "rd_kafka_assign": (ctypes.c_int, [pointer, pointer]),
        "rd_kafka_pause_partitions": (ctypes.c_int, [pointer, pointer]),
        "rd_kafka_resume_partitions": (ctypes.c_int, [pointer, pointer]),
        "rd_kafka_get_watermark_offsets": (ctypes.c_int, [pointer, text, ctypes.c_int32, pointer, pointer]),
        "rd_kafka_message_headers": (ctypes.c_int, [pointer, ctypes.POINTER(pointer)]),
        "rd_kafka_header_get_last": (ctypes.c_int, [pointer, text, pointer, pointer]),
        "rd_kafka_header_get_all": (
            ctypes.c_int,
            [pointer, ctypes.c_size_t, ctypes.POINTER(text), ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_size_t)],
        ),
        "rd_kafka_message_timestamp": (long, [pointer, pointer]),
        "rd_kafka_message_destroy": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


rdkafka = _load()


def new_consumer(config: dict[str, str]) -> int:
    """A consumer's handle. Raises ValueError for a setting that librdkafka refuses."""
    conf = rdkafka.rd_kafka_conf_new()
    output = ctypes.create_string_buffer(_ERROR_CHARACTERS)
    for name, value in config.items():
        if rdkafka.rd_kafka_conf_set(conf, name.encode(), value.encode(), output, len(output)):
            raise ValueError(f"Kafka setting {name}: {output.value.decode()}")
    handle = rdkafka.rd_kafka_new(_CONSUMER, conf, output, len(output))
    if not handle:
        raise ValueError(f"Kafka client: {output.value.decode()}")
    rdkafka.rd_kafka_poll_set_consumer(handle)
    return handle


def message_headers(message: int) -> list[tuple[str, bytes | None]]:
    """The headers of the message at this address, in their order."""
    held = ctypes.c_void_p()
    if rdkafka.rd_kafka_message_headers(message, held):
        return []
    name, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    found: list[tuple[str, bytes | None]] = []
    while not rdkafka.rd_kafka_header_get_all(held, len(found), name, value, size):
        given = None if value.value is None else ctypes.string_at(value.value, size.value)
        found.append(((name.value or b"").decode(errors="replace"), given))
    return found
