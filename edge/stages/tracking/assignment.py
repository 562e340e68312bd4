"""The best one-to-one pairing of two small sets."""

import numpy as np
from numpy.typing import NDArray


def assign(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pair rows with columns: as many pairs as are allowed, of the least total cost.

    The Hungarian method with shortest augmenting paths and potentials, O(n^2 m); Jonker and
    Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
    problems", Computing 1987. In plain Python, since a handful of faces is a few dozen steps.

    Args:
        cost: ``(n, m)``; infinity forbids a pair.

    Returns:
        The pairs ``(row, column)`` in the order of the rows. The same costs give the same pairs.
    """
    if cost.size == 0:
        return []
    if cost.size == 1:  # one face, one track: nearly always
        return [(0, 0)] if np.isfinite(cost[0, 0]) else []
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T))
    allowed = np.isfinite(cost)
    # Dearer than any pairing of allowed pairs, so that a forbidden one is the last resort.
    spread = float(np.ptp(cost[allowed])) if allowed.any() else 0.0
    floor = float(cost[allowed].min()) if allowed.any() else 0.0
    priced = np.where(allowed, cost - floor, (spread + 1.0) * (cost.shape[0] + 1))
    return [(row, column) for row, column in _solve(priced.tolist()) if allowed[row, column]]


def _solve(cost: list[list[float]]) -> list[tuple[int, int]]:
    """Pair every row; there are no more rows than columns, and all costs are finite."""
    rows, columns = len(cost), len(cost[0])
    row_price, column_price = [0.0] * rows, [0.0] * (columns + 1)
    owner = [-1] * (columns + 1)  # of each column; the last one is where a new row starts
    for row in range(rows):
        owner[columns] = row
        path = _cheapest_path(cost, row_price, column_price, owner)
        for column, before in path:
            owner[column] = owner[before]
        owner[columns] = -1
    return sorted((owner[column], column) for column in range(columns) if owner[column] >= 0)


def _cheapest_path(
    cost: list[list[float]], row_price: list[float], column_price: list[float], owner: list[int]
) -> list[tuple[int, int]]:
    """Find the cheapest way from the new row to a free column, and raise the prices on it.

    Returns:
        pairs of a column and the column that its new owner leaves, from the free one back.
    """
    columns = len(column_price) - 1
    best, came_from = [np.inf] * columns, [columns] * columns
    reached = [columns]
    open_columns = list(range(columns))
    here = columns
    while owner[here] >= 0:
        row = owner[here]
        for column in open_columns:
            price = cost[row][column] - row_price[row] - column_price[column]
            if price < best[column]:
                best[column], came_from[column] = price, here
        nearest = min(open_columns, key=best.__getitem__)
        step = best[nearest]
        for column in reached:
            row_price[owner[column]] += step
            column_price[column] -= step
        for column in open_columns:
            best[column] -= step
        open_columns.remove(nearest)
        reached.append(nearest)
        here = nearest
    path = []
    while here != columns:
        path.append((here, came_from[here]))
        here = came_from[here]
    return path
