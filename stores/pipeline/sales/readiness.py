"""Find out whether the business days of each store can be posted.

This reads HQ only and changes nothing. Posting a day without blockers does not fail on a customer.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch
from stores.models import Channel
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.pipeline.sales.rules import SALE_RULES
from stores.pipeline.sales.statement_sales import OPEN_DOCUMENTS

OPEN_DAYS = load(__file__, "open_days").format(open_documents=sql.SQL(OPEN_DOCUMENTS))
OPEN_BLOCKERS = load(__file__, "open_blockers").format(open_documents=sql.SQL(OPEN_DOCUMENTS))
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
    """Each channel's business dates with sales to be posted, oldest first."""
    days = fetch(OPEN_DAYS)
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
