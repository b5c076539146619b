"""The remembered ids against a plain dict, over many generations and sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.worker.seen import GENERATIONS, Seen
from tests.examples import examples

Batch = tuple[int, list[int]]
steps = st.sampled_from([0, 0, 0, 1, 2, 4, 5, 249, 300])
batches = st.lists(st.tuples(steps, st.lists(st.integers(1, 40))), max_size=30)


def play(seen: Seen, ids: list[tuple[int, int]], known: dict[int, int]) -> None:
    expected: list[bool] = []
    for generation, number in ids:
        since = known.get(number)
        expected.append(since is not None and generation - since <= GENERATIONS)
        known[number] = generation
    hashes = np.array([n for _, n in ids], np.uint64)
    assert seen.duplicates(hashes, np.array([g for g, _ in ids], np.int64)).tolist() == expected


@examples(300)
@given(batches)
def test_remembers_what_a_dict_remembers(used: list[Batch]) -> None:
    seen, known, generation = Seen(), dict[int, int](), 2_000_000
    for later, numbers in used:
        earlier, generation = generation, generation + later
        # a batch may go over the border of a generation
        play(seen, [(earlier, n) for n in numbers[:3]] + [(generation, n) for n in numbers[3:]], known)


@pytest.mark.parametrize("each", [500, 20_000])
def test_many_ids_over_many_generations(each: int) -> None:
    rng = np.random.default_rng(1)
    seen, known = Seen(), dict[int, int]()
    for generation in range(600 if each == 500 else 20):
        numbers = rng.integers(1, 30 * each, each)
        play(seen, [(generation, int(n)) for n in numbers], known)
