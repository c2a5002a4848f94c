"""What does not fit at once is done in halves, in order; what is no lack of memory is not."""

import pytest

from tasks.shared import memory
from tasks.shared.errors import Transient


class OutOfMemoryError(RuntimeError):
    """As PyTorch names it."""


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8])
def test_halves_until_it_fits(room: int, monkeypatch: pytest.MonkeyPatch):
    asked, freed = list[int](), list[int]()
    monkeypatch.setattr(memory, "free", lambda: freed.append(len(asked)))  # by itself it takes a second here

    def work(items):
        asked.append(len(items))
        if len(items) > room:
            raise OutOfMemoryError("CUDA out of memory")
        return [item * 2 for item in items]

    parts = memory.in_halves(work, list(range(8)))
    assert [value for part in parts for value in part] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert max(len(part) for part in parts) <= room
    assert asked[0] == 8
    assert freed == [number for number, items in enumerate(asked, start=1) if items > room]


def test_a_single_item_that_does_not_fit_may_fit_later():
    def work(items):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    with pytest.raises(Transient, match="out of memory with a single picture"):
        memory.in_halves(work, [1, 2])


def test_another_error_is_left_alone():
    calls = []

    def work(items):
        calls.append(1)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        memory.in_halves(work, [1, 2])
    assert len(calls) == 1
