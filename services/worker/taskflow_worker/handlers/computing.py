"""The built-in types `compute` and `process_data`. Their work is bounded: they run on the worker's loop."""

from __future__ import annotations

import math
from typing import Any, Literal

from taskflow import Context, PermanentError, task
from taskflow_worker.handlers.knobs import Knobs, obey

Number = int | float

PRODUCT_BITS_MAX = 10_000
"""A whole product beyond it (3,000 digits) is refused: it would keep the loop busy."""

_DROPPED: tuple[Any, ...] = (None, False, 0, "", [])


class Compute(Knobs):
    """Numbers, and what to make of them."""

    operation: Literal["sum", "product", "average"]
    numbers: list[Number]


class ProcessData(Knobs):
    """Items of any kind, and what to do with them."""

    data: list[Any]
    operation: Literal["transform", "filter", "aggregate"]


@task("compute")
async def compute(payload: Compute, context: Context) -> dict[str, Any]:
    """`{"operation", "result"}`: the sum, product or average of `numbers`."""
    obey(payload, context)
    try:
        result = _computed(payload.operation, payload.numbers)
    except OverflowError as error:
        raise PermanentError(f"the {payload.operation} of these numbers is too large: {error}") from error
    if isinstance(result, float) and not math.isfinite(result):
        raise PermanentError(f"the {payload.operation} of these numbers is too large")
    return {"operation": payload.operation, "result": result}


def _computed(operation: str, numbers: list[Number]) -> Number:
    match operation:
        case "sum":
            return sum(numbers)
        case "product":
            return _product(numbers)
        case _:
            return _average(numbers)


def _product(numbers: list[Number]) -> Number:
    product: Number = 1
    for number in numbers:
        product *= number
        if isinstance(product, int) and product.bit_length() > PRODUCT_BITS_MAX:
            raise OverflowError(f"more than {PRODUCT_BITS_MAX} bits")
    return product


def _average(numbers: list[Number]) -> float:
    if not numbers:
        raise PermanentError("the average of no numbers is not defined; expected at least one")
    return sum(numbers) / len(numbers)


@task("process_data")
async def process_data(payload: ProcessData, context: Context) -> dict[str, Any]:
    """`{"operation", "result", "count"}`; `count` is how many items `data` has.

    `transform` doubles numbers and upper-cases strings, `filter` drops null, false, 0, "" and [], `aggregate`
    sums up the numbers among the items.
    """
    obey(payload, context)
    result: Any
    match payload.operation:
        case "transform":
            result = [_transformed(item) for item in payload.data]
        case "filter":
            result = [item for item in payload.data if item not in _DROPPED]
        case "aggregate":
            result = _aggregated([item for item in payload.data if _is_number(item)])
    return {"operation": payload.operation, "result": result, "count": len(payload.data)}


def _is_number(item: Any) -> bool:
    return isinstance(item, (int, float)) and not isinstance(item, bool)


def _transformed(item: Any) -> Any:
    if _is_number(item):
        return item * 2
    return item.upper() if isinstance(item, str) else item


def _aggregated(numbers: list[Number]) -> dict[str, Any]:
    if not numbers:
        return {"count": 0, "sum": 0, "min": None, "max": None, "average": None}
    try:
        total = sum(numbers)
        average = total / len(numbers)
    except OverflowError as error:
        raise PermanentError(f"the sum of these numbers is too large: {error}") from error
    return {"count": len(numbers), "sum": total, "min": min(numbers), "max": max(numbers), "average": average}
