"""Making the next batches while the network learns from the last one."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

_DEPTH: Final = 2


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield ``items``, of which a thread makes the next two meanwhile.

    OpenCV and NumPy let other threads run while they compute, and a step of the network does. What
    the maker raises is raised here.
    """
    end = object()
    with ThreadPoolExecutor(1) as maker:
        made = deque(maker.submit(next, items, end) for _ in range(_DEPTH))
        while (item := made.popleft().result()) is not end:
            made.append(maker.submit(next, items, end))
            yield item  # type: ignore[misc] # what is not the end is an item
