"""Validate store transactions: convert what open sales name, then hold the rules."""

from functools import partial

from stores.failpoints import failpoint
from stores.models import Channel, RunStep
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import SALES
from stores.pipeline.issuing import require_numbers
from stores.pipeline.sales.claims import claim_sales, claimed_sales, each_by_itself
from stores.pipeline.sales.customers import name_addresses, name_buyers
from stores.pipeline.sales.refused import IS_REFUSED
from stores.pipeline.sales.rules import check_sales


def validate_transactions(step: RunStep) -> None:
    """Validate the channel's open sales, oldest first, once what they name was converted.

    Effects: accounts, addresses, the sales' customers, validation status, time and errors; a chunk
    a transaction. Sales in error are tried again, because what they lacked may have come.
    """
    channel = step.its_channel
    beyond = 0
    if not step.is_dry:
        require_numbers()
    while True:
        with step.chunk():
            claimed = claim_sales(
                f"""t.channel_id = %(channel)s AND t.statement_id IS NULL AND t.id > %(beyond)s
                   AND t.entry_status = 'concluded' AND t.validation_status <> 'successful'
                   AND NOT {IS_REFUSED}
                   AND t.business_date = coalesce(%(day)s, t.business_date)""",
                {"channel": channel.pk, "beyond": beyond, "day": step.run.business_date},
                limit=SALES,
            )
            if not claimed:
                return
            step.add(read=claimed)
            sales = claimed_sales()
            converted = each_by_itself(step, partial(validate_claimed, step, channel), sales)
            beyond = sales[-1]
            failpoint("validate:before_commit")
        failpoint("validate:after_commit")
        if converted and not step.is_dry:
            number_journal.keep()


def validate_claimed(step: RunStep, channel: Channel) -> int:
    """Convert what the sales at hand name, and validate them. Returns how many were converted."""
    converted = name_buyers(step, channel.company)
    name_addresses(step, channel.company)
    changed, failed = check_sales()
    step.add(updated=changed, failed=failed)
    return converted
