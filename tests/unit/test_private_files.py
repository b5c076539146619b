"""Files that only their owner may read, and that are never missing while they are written."""

import threading
from pathlib import Path

from streamgauge.stack.layout import write_private


def test_a_reader_finds_the_old_or_the_new(tmp_path: Path) -> None:
    file, stop, missed = tmp_path / "worker.env", threading.Event(), list[str]()
    write_private(file, "0")

    def read() -> None:
        while not stop.is_set():
            try:
                if not file.read_text():
                    missed.append("empty")
            except FileNotFoundError:
                missed.append("missing")

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(2000):
        write_private(file, str(n))
    stop.set()
    reader.join()
    assert not missed
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "worker.env"
    write_private(file, "a")
    before = file.stat()
    write_private(file, "a")
    assert file.stat().st_ino == before.st_ino
