"""Sales of a chunk: locked, in their order, and each by itself where one is refused."""

from collections.abc import Callable, Sequence

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch
from stores.models import RunStep
from stores.models.transaction import BEING_CORRECTED
from stores.pipeline.sales.refused import record_refusals, refusals_of


def lock_sales(
    condition: str, values: dict[str, object], *, limit: int, by: int | None = None
) -> list[int]:
    """Lock open transactions that meet a condition. Returns their ids, in order.

    Rows that another job holds are left to it, and so are those that a person is correcting, unless
    it is the person `by` whom they are claimed.
    """
    locked = fetch(
        f"""SELECT t.id FROM retail_transaction t
             WHERE t.sales_order_id IS NULL
               AND (NOT {BEING_CORRECTED} OR t.editing_by_id = %(by)s) AND {condition}
             ORDER BY t.id LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED""",  # noqa: S608
        values | {"limit": limit, "by": by},
    )
    return [sale for (sale,) in locked]


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
