"""Bugs that the simulator must find, each planted in a copy of the worker's code: `make simulate BUGS=1`."""

from dataclasses import dataclass

from tests.simulator.code import Change

_WORKER = "streaming/worker/"
_TOPICS = "platform/streamgauge/state/topics.py"
_SEND_LETTERS = "            self._topics.send_dead_letters(letters)\n"
_MARK_LETTERS = "            self._outbox.mark_forwarded(connection, [(r.partition, r.offset) for r, _ in letters])\n"
_SEND_COUNTS = "        self._topics.send_counts(changed)\n"
_MARK_COUNTS = "        self._outbox.mark_published(connection, snapshot.published, snapshot.offsets)\n"


@dataclass(frozen=True)
class Bug:
    name: str
    changes: tuple[Change, ...]


def _bug(name: str, file: str, old: str, new: str) -> Bug:
    return Bug(name, (Change(file if "/" in file else _WORKER + file, old, new),))


BUGS = (
    # the fence
    _bug(
        "a commit doesn't ask for the epoch",
        "claims.py",
        "and epoch = %s and next_offset = %s",
        "and (epoch = %s or true) and next_offset = %s",
    ),
    _bug(
        "a claim leaves the epoch as it is",
        "claims.py",
        "set epoch = stream_offsets.epoch + 1, owner",
        "set epoch = stream_offsets.epoch, owner",
    ),
    _bug(
        "offsets are committed before their rows",
        "store.py",
        '            with statement("INSERT", self._contract.minutes_table',
        '        with connection.transaction():\n            with statement("INSERT", self._contract.minutes_table',
    ),
    _bug(
        "dead letters are committed after their offsets",
        "store.py",
        '            with statement("INSERT", "dead_letters"',
        '        with connection.transaction():\n            with statement("INSERT", "dead_letters"',
    ),
    # taking over
    _bug(
        "remembered ids are not read again",
        "partition.py",
        "return min([self.next_offset, *(offset for _, offset in self.generations)])",
        "return self.next_offset",
    ),
    _bug(
        "ids that are read again are not remembered",
        "partition.py",
        "            self.seen.duplicates(hashes, generations)\n",
        "            pass\n",
    ),
    _bug("sketches are not read back", "takeover.py", "held = None if first_minute is None else", "held = None and"),
    _bug(
        "a new owner goes on with a paused partition", "takeover.py", "paused=claim.paused is not None", "paused=False"
    ),
    _bug(
        "a new owner reads from where the log no longer is",
        "takeover.py",
        "max(claim.progress.read_from, claim.first_position + low)",
        "claim.progress.read_from",
    ),
    _bug("a gap is no loss", "claims.py", "lost = lost + %s where", "lost = lost + 0 * %s where"),
    _bug("a gap is not noticed", "claims.py", "if next_offset < low:", "if next_offset < 0:"),
    _bug(
        "the latest minute is forgotten",
        "claims.py",
        "coalesce(latest_ms, watermark_ms)",
        "watermark_ms",
    ),
    # a topic that is created again
    _bug(
        "the topic's id is asked only at the beginning",
        "session.py",
        'self._lifetime.retry(KafkaException, "Kafka", verify, UNREACHED_SECONDS)',
        "del verify",
    ),
    _bug("a new topic's positions begin at 0", _TOPICS, "first = max(known_end, row[0] if", "first = 0 * (row[0] if"),
    # verdicts
    _bug(
        "a producer's clock moves the watermark",
        "partition.py",
        "np.maximum(np.minimum(event_times, ingest_times), start)",
        "np.maximum(event_times, start)",
    ),
    _bug(
        "a late event is counted too",
        "pipeline.py",
        "counted=end - middle - late - duplicates,",
        "counted=end - middle - duplicates,",
    ),
    _bug(
        "a late event is late in its row, and counted in its measures",
        "rollup.py",
        "len(groups), verdict, COUNTED)",
        "len(groups), np.where(verdict == LATE, COUNTED, verdict), COUNTED)",
    ),
    _bug("a duplicate is judged late first", "partition.py", "late = ~duplicate & (", "late = ("),
    _bug(
        "the oldest generation is not read again",
        "partition.py",
        "if oldest is None or g >= oldest)",
        "if oldest is None or g > oldest)",
    ),
    _bug(
        "a generation begins at its latest event",
        "partition.py",
        "generations.setdefault(generation, int(offsets[row]))",
        "generations[generation] = int(offsets[row])",
    ),
    _bug(
        "the first new record of a batch is skipped",
        "pipeline.py",
        "(offsets[rows], before.next_offset))",
        '(offsets[rows], before.next_offset, side="right"))',
    ),
    _bug("batches of one transaction count once", "pipeline.py", "self.counted + next_.counted,", "next_.counted,"),
    _bug(
        "rows of duplicates alone are not written",
        "rollup.py",
        "touched = tally[:, COUNTED:].sum(axis=1) > 0",
        "touched = tally[:, COUNTED] > 0",
    ),
    _bug(
        "late and duplicate change places",
        "rollup.py",
        '"late": LATE, "duplicates": DUPLICATE',
        '"late": DUPLICATE, "duplicates": LATE',
    ),
    _bug(
        "a minute is closed while it may change",
        "pipeline.py",
        "return (progress.watermark - self.contract.lateness_ms) // MINUTE_MS * MINUTE_MS",
        "return progress.watermark // MINUTE_MS * MINUTE_MS",
    ),
    _bug(
        "the latest minute is that of the watermark",
        "partition.py",
        "latest = max(int(event_times.max()), int(after[-1]),",
        "latest = max(int(after[-1]),",
    ),
    _bug(
        "a row says the position before its commit",
        "minute_rows.py",
        "        upto = {p.after.partition: p.after.next_offset for p in delta.partitions}\n        latest",
        "        upto = {p.after.partition: p.before.next_offset for p in delta.partitions}\n        latest",
    ),
    # silence
    _bug(
        "silence is believed at once", "reader.py", "if now - heard >= silence and self._position", "if self._position"
    ),
    _bug(
        "silence is believed of a log that has more",
        "reader.py",
        "if now - heard >= silence and self._position[p] >= self._first.get(p, 0) + self._ends(p)[1]",
        "if now - heard >= silence",
    ),
    _bug(
        "silence moves a watermark back",
        "pipeline.py",
        "if before.watermark is not None and complete_to > before.watermark:",
        "if before.watermark is not None:",
    ),
    _bug(
        "a client that fetches nothing is kept",
        "session.py",
        "                    reader.check_stalled(reader.assignment.paused)\n",
        "",
    ),
    # dead letters
    _bug(
        "one dead letter more than allowed",
        "pipeline.py",
        "        if len(dead) > left:\n",
        "        if len(dead) > left + 1:\n",
    ),
    _bug(
        "a pause loses the record it is for",
        "pipeline.py",
        "pause = _Pause(dead[left].row, ",
        "pause = _Pause(dead[left].row + 1, ",
    ),
    _bug(
        "nobody notices that a partition is resumed",
        "committer.py",
        "                    raise _Resumed\n",
        "                    pass\n",
    ),
    _bug(
        "a record that was set aside is tried again",
        "session.py",
        "rows = self._isolation.rows(records)",
        "rows = dict[int, str]()",
    ),
    # publishing
    _bug(
        "dead letters are marked before they are sent",
        "publisher.py",
        f"{_SEND_LETTERS}{_MARK_LETTERS}",
        f"{_MARK_LETTERS}{_SEND_LETTERS}",
    ),
    _bug(
        "counts are marked before they are sent",
        "publisher.py",
        f"{_SEND_COUNTS}{_MARK_COUNTS}",
        f"{_MARK_COUNTS}{_SEND_COUNTS}",
    ),
    _bug(
        "a Redis that was emptied stays so",
        "publisher.py",
        "or time.monotonic() - last > _REPEAT_SECONDS)",
        "or False)",
    ),
    _bug(
        "sketches of single records are not read for Redis",
        "recent.py",
        "            if offset > read_to:\n",
        "            if offset > read_to + 1:\n",
    ),
)
