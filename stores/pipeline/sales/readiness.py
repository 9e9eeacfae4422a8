"""Find out whether the business days of each store can be posted.

This reads HQ only and changes nothing. Posting a day without blockers does not fail on a customer.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from stores.hqdb.files import load
from stores.hqdb.sql import fetch
from stores.models import Channel
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.pipeline.sales.rules import SALE_RULES

OPEN_BLOCKERS = load(__file__, "open_blockers")
# The reasons by which the list of transactions can be filtered.
RULE_CODES = frozenset({rule.code for rule in SALE_RULES} | set(REFUSAL_REASONS))


@dataclass(frozen=True)
class Blocker:
    """A reason that keeps sales of one day from being posted, and how many."""

    reason: str
    field: str
    sales: int

    @property
    def rule(self) -> str:
        """The reason, if it is a rule of validation. Otherwise empty."""
        return self.reason if self.reason in RULE_CODES else ""


@dataclass(frozen=True)
class Readiness:
    """The open sales and prepayments of one channel and business date."""

    channel: Channel
    business_date: date
    sales: int
    validated: int
    # Customers and addresses that are converted before the day is posted.
    customers: int
    addresses: int
    blockers: list[Blocker]

    @property
    def blocked(self) -> int:
        return sum(blocker.sales for blocker in self.blockers)

    @property
    def is_ready(self) -> bool:
        return not self.blockers


def readiness() -> list[Readiness]:
    """Return each channel's business dates with sales to be posted, oldest first."""
    days = fetch(
        """SELECT sale.channel_id, sale.business_date, count(*) AS sales,
                  count(*) FILTER (WHERE sale.validation_status = 'successful') AS validated,
                  count(DISTINCT sale.async_account) FILTER (
                      WHERE sale.customer_id IS NULL AND EXISTS (
                          SELECT FROM staged_customer event
                           WHERE event.company_id = sale.company_id
                             AND event.async_account = sale.async_account
                             AND event.status = 'pending')) AS customers,
                  -- All sales of a channel are of one company, so min() finds the company.
                  (SELECT count(DISTINCT event.address_id)
                     FROM staged_address event
                    WHERE event.company_id = min(sale.company_id) AND event.status = 'pending'
                      AND event.async_account = ANY (array_agg(sale.async_account))) AS addresses
             FROM open_document sale
            GROUP BY sale.channel_id, sale.business_date
            ORDER BY sale.business_date, sale.channel_id"""
    )
    blockers: dict[tuple[int, date], list[Blocker]] = defaultdict(list)
    for channel_id, business_date, reason, field, sales in fetch(OPEN_BLOCKERS):
        blockers[channel_id, business_date].append(Blocker(reason, field or "", sales))
    channels = Channel.objects.in_bulk()
    return [
        Readiness(
            channel=channels[channel_id],
            business_date=business_date,
            sales=sales,
            validated=validated,
            customers=customers,
            addresses=addresses,
            blockers=blockers[channel_id, business_date],
        )
        for channel_id, business_date, sales, validated, customers, addresses in days
    ]
