"""Batches made ahead are the same, in order, and their errors arrive."""

import threading
from collections.abc import Iterator

import pytest

from host_training.training.ahead import ahead


def test_order_and_end() -> None:
    """Every item comes once, in order."""
    assert list(ahead(iter(range(100)))) == list(range(100))
    assert list(ahead(iter(()))) == []


def test_the_next_item_is_made_meanwhile() -> None:
    """While one item is in use, the next one is being made in another thread."""
    begun = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number

    taken = ahead(items())
    assert next(taken) == 0
    assert begun[1].wait(30)
    assert list(taken) == [1, 2]


def test_errors_arrive_where_they_belong() -> None:
    """What the maker raises is raised after the items before it."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    taken = ahead(items())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="no more"):
        next(taken)


def test_who_goes_away_leaves_no_thread() -> None:
    """A caller that stops early ends the maker."""
    before = threading.active_count()
    taken = ahead(iter(range(1000)))
    assert next(taken) == 0
    taken.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
