"""One thread reads while another writes."""

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T], most: int) -> Iterator[T]:
    """The same items, made by a thread of their own, at most so many ahead of who takes them."""
    items_ready: queue.Queue[T | BaseException | None] = queue.Queue(most)
    unwanted = threading.Event()

    def put(item: T | BaseException | None) -> None:
        while not unwanted.is_set():
            with suppress(queue.Full):
                items_ready.put(item, timeout=0.1)
                return

    def make() -> None:
        try:
            with closing(items):
                for item in items:
                    put(item)
                    if unwanted.is_set():
                        return
            put(None)
        except BaseException as e:
            put(e)

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := items_ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        thread.join()
