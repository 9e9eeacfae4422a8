"""Validate store transactions: convert the customers of open sales, then check the rules."""

from collections.abc import Sequence
from functools import partial

from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.models import Channel, RunStep
from stores.models.transaction import BEING_CORRECTED
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import SALES_PER_CHUNK
from stores.pipeline.issuing import require_numbers
from stores.pipeline.sales.claims import lock_sales, process_one_by_one
from stores.pipeline.sales.customers import resolve_addresses, resolve_customers
from stores.pipeline.sales.refused import IS_REFUSED
from stores.pipeline.sales.rules import check_sales

LOCK_SALES = load(__file__, "lock_sales_to_validate").format(
    is_refused=sql.SQL(IS_REFUSED), being_corrected=sql.SQL(BEING_CORRECTED)
)


def validate_transactions(step: RunStep, channel: Channel) -> None:
    """Validate the open sales of the channel, oldest first.

    Sales in error are validated again, because a missing customer may have arrived. Effects:
    accounts, addresses, and the sales with their errors, in one transaction for each chunk.
    """
    last = 0
    if not step.is_dry:
        require_numbers()
    while True:
        with step.chunk():
            values = {
                "channel": channel.pk,
                "last": last,
                "day": step.run.business_date,
                "limit": SALES_PER_CHUNK,
            }
            sales = lock_sales(LOCK_SALES, values)
            if not sales:
                return
            step.add(read=len(sales))
            converted = process_one_by_one(step, partial(validate_locked, step, channel), sales)
            last = sales[-1]
            failpoint("validate:before_commit")
        failpoint("validate:after_commit")
        if converted and not step.is_dry:
            number_journal.append_missing()


def validate_locked(step: RunStep, channel: Channel, sales: Sequence[int]) -> int:
    converted = resolve_customers(step, channel.company, sales)
    resolve_addresses(step, channel.company, sales)
    changed, failed = check_sales(sales)
    step.add(updated=changed, failed=failed)
    return converted
