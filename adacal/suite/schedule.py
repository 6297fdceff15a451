"""Which worker computes which cell next: cells that share a dataset and an ANN stay together."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Schedule(Generic[Item]):
    """Hands out items; those of one group go to one worker for as long as others have work.

    One worker gets the groups in their order, and the items of a group in theirs. A worker that
    has nothing left to do takes from the end of the longest group of another.
    """

    def __init__(self, items: Iterable[Item], group: Callable[[Item], str]) -> None:
        """Sorts the items by their group; groups come in the order of their first item."""
        self._group = group
        self._waiting: OrderedDict[str, deque[Item]] = OrderedDict()
        self._owners: dict[str, int] = {}
        self._current: dict[int, str] = {}
        for item in items:
            self._waiting.setdefault(group(item), deque()).append(item)

    def __len__(self) -> int:
        """Returns how many items wait."""
        return sum(map(len, self._waiting.values()))

    def take(self, worker: int) -> Item | None:
        """Returns the worker's next item, or None where none is left.

        >>> schedule = Schedule(["a1", "a2", "a3", "b1"], group=lambda item: item[0])
        >>> [schedule.take(worker) for worker in (0, 1, 0, 1, 0)]
        ['a1', 'b1', 'a2', 'a3', None]
        """
        for key in (self._current.get(worker), *self._free()):
            if key is not None and self._waiting.get(key):
                self._owners[key] = worker
                self._current[worker] = key
                return self._waiting[key].popleft()
        longest = max(self._waiting.values(), key=len, default=None)
        return longest.pop() if longest else None

    def put_back(self, item: Item) -> None:
        """Returns an item whose worker died; it is handed out before the rest of its group."""
        key = self._group(item)
        self._waiting.setdefault(key, deque()).appendleft(item)

    def _free(self) -> list[str]:
        """Names the groups that no worker has begun, or that their worker has left."""
        held = set(self._current.values())
        return [key for key in self._waiting if key not in held]
