"""Validate store transactions: convert the customers of open sales, then check the rules.

A sale is open until it is in a statement or has become an order. Open sales are validated in
chunks, each in one transaction, until they pass. Sales that another job has locked or that a person
is correcting are skipped, and so are those that the database has refused.
"""

from collections.abc import Sequence
from functools import partial

from stores.failpoints import failpoint
from stores.hqdb.sql import fetch_values
from stores.models import Channel, RunStep
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import SALES_PER_CHUNK
from stores.pipeline.issuing import require_numbers
from stores.pipeline.sales.customers import resolve_addresses, resolve_customers
from stores.pipeline.sales.refused import process_excluding_refused
from stores.pipeline.sales.rules import check_sales


def validate_transactions(step: RunStep, channel: Channel) -> None:
    """Validate the open sales of the channel, oldest first.

    Sales in error are validated again, because a missing customer may have arrived. Effects:
    accounts, addresses, and the sales with their errors, in one transaction for each chunk.
    """
    if not step.is_dry:
        require_numbers()
    last = 0
    while True:
        # One transaction. It is refused if the step was lost or the run is to stop.
        with step.chunk():
            sales = lock_unvalidated(step, channel, after=last)
            if not sales:
                return
            step.add(read=len(sales))
            # Calls validate_locked(), and returns the sum of the customers that it converted.
            validate = partial(validate_locked, step, channel)
            converted = process_excluding_refused(step, validate, sales)
            last = sales[-1]
            failpoint("validate:before_commit")
        failpoint("validate:after_commit")
        # Conversion has issued account numbers, which the journal keeps outside the database.
        if converted and not step.is_dry:
            number_journal.append_missing()


def lock_unvalidated(step: RunStep, channel: Channel, *, after: int) -> list[int]:
    """Lock the next open sales that have not passed validation. Return their ids."""
    return fetch_values(
        """SELECT sale.id FROM retail_transaction sale
            WHERE sale.channel_id = %(channel)s AND sale.id > %(after)s
              AND sale.statement_id IS NULL AND sale.sales_order_id IS NULL
              AND sale.entry_status = 'concluded' AND sale.validation_status <> 'successful'
              -- Sales of every day, unless the run is for one.
              AND sale.business_date = coalesce(%(business_date)s, sale.business_date)
              AND NOT EXISTS (SELECT FROM refused_sale refused
                               WHERE refused.transaction_id = sale.id)
              AND NOT is_being_corrected(sale.editing_until)
            ORDER BY sale.id LIMIT %(limit)s FOR UPDATE OF sale SKIP LOCKED""",
        {
            "channel": channel.pk,
            "after": after,
            "business_date": step.run.business_date,
            "limit": SALES_PER_CHUNK,
        },
    )


def validate_locked(step: RunStep, channel: Channel, sales: Sequence[int]) -> int:
    """Validate sales. Return how many customers were converted for them."""
    converted = resolve_customers(step, channel.company, sales)
    resolve_addresses(step, channel.company, sales)
    updated, failed = check_sales(sales)
    step.add(updated=updated, failed=failed)
    return converted
