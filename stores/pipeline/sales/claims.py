"""Lock the sales of a chunk, and process them one by one if the database refuses any of them."""

from collections.abc import Callable, Mapping, Sequence

from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import fetch
from stores.models import RunStep
from stores.pipeline.sales.refused import record_refusals, refusals_of


def lock_sales(statement: str, values: Mapping[str, object]) -> list[int]:
    """Run a statement that locks sales. Return their ids in ascending order."""
    return [sale for (sale,) in fetch(statement, dict(values))]


def process_one_by_one(
    step: RunStep, work: Callable[[Sequence[int]], int], sales: Sequence[int]
) -> int:
    """Call `work` with all sales, or with fewer at a time to isolate those the database refuses.

    A refused sale is recorded as an error, and the counts of its call are undone. Return the sum of
    the results of `work`.
    """

    def work_on(ids: Sequence[int]) -> int:
        with step.counts_restored():
            return work(ids)

    done, refused = bisect_keys(work_on, sales)
    if refused:
        record_refusals(refusals_of(refused))
        step.add(failed=len(refused))
    return sum(done)
