"""Sales of a chunk: locked, in their order, and each by itself where one is refused."""

from collections.abc import Callable, Mapping, Sequence

from psycopg2 import sql

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch
from stores.models import RunStep
from stores.pipeline.sales.refused import record_refusals, refusals_of


def lock_sales(statement: sql.Composable, values: Mapping[str, object]) -> list[int]:
    """Lock the open transactions that a statement selects. Returns their ids, in order."""
    return [sale for (sale,) in fetch(statement, dict(values))]


def process_one_by_one(
    step: RunStep, work: Callable[[Sequence[int]], int], sales: Sequence[int]
) -> int:
    """Do work for the sales; those that the database refuses are set aside as errors.

    Returns the sum of what work returned.
    """

    def work_on(ids: Sequence[int] | None) -> int:
        with step.counts_restored():
            return work(sales if ids is None else ids)

    done, refused = bisect_rows(work_on, lambda: sales)
    if refused:
        record_refusals(refusals_of(refused))
        step.add(failed=len(refused))
    return sum(done)
