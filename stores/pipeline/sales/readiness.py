"""Whether a store's day can be posted: what will be converted on the way, and what stands in it.

Looks at what HQ holds, opens no channel and changes nothing. No blockers means that posting cannot
fail on a customer. Source: features E.9.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone
from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch
from stores.models import Channel, ExcludedSale, Quarantine, Statement
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.sales.refused import REFUSAL_REASONS
from stores.pipeline.sales.rules import SALE_RULES
from stores.pipeline.sales.statement_sales import OPEN_DOCUMENTS

# How far back the board tells of posted days and voided sales; the lists have all.
LATE_DAYS = 31


@dataclass
class Blocker:
    reason: str
    field: str
    sales: int

    @property
    def rule(self) -> str:
        """The rule of validation that it is, by which the list of transactions can be filtered."""
        is_rule = self.reason in REFUSAL_REASONS or any(
            rule.code == self.reason for rule in SALE_RULES
        )
        return self.reason if is_rule else ""


@dataclass
class Readiness:
    """One channel's open sales of one business date, and its orders that were paid something."""

    channel: Channel
    business_date: date
    sales: int = 0
    validated: int = 0
    customers: int = 0
    addresses: int = 0
    blockers: list[Blocker] = field(default_factory=list)

    @property
    def blocked(self) -> int:
        return sum(blocker.sales for blocker in self.blockers)

    @property
    def blocked_text(self) -> str:
        return f"{self.blocked:,} blocked"

    @property
    def is_ready(self) -> bool:
        return not self.blockers


OPEN_DAYS = load(__file__, "open_days").format(open_documents=sql.SQL(OPEN_DOCUMENTS))
OPEN_BLOCKERS = load(__file__, "open_blockers").format(open_documents=sql.SQL(OPEN_DOCUMENTS))


def readiness() -> list[Readiness]:
    """Every channel's business dates with sales that are not in a statement yet, oldest first."""
    channels = Channel.objects.in_bulk()
    board: dict[tuple[int, date], Readiness] = {}
    for channel, day, sales, validated, customers, addresses in fetch(OPEN_DAYS):
        board[channel, day] = Readiness(
            channels[channel], day, sales, validated, customers, addresses
        )
    for channel, day, reason, name, sales in fetch(OPEN_BLOCKERS):
        board[channel, day].blockers.append(Blocker(reason, name or "", sales))
    return list(board.values())


def unposted_statements() -> QuerySet[Statement]:
    """The statements that are not posted, oldest first: their sales are in no row of the board."""
    statements = Statement.objects.open().with_sales().select_related("channel")
    return statements.order_by("business_date", "pk")


def posted_lately() -> QuerySet[Statement]:
    """The newest statements of late business dates that are posted, with how many sales they have.

    There is one for each day, and one more for what came afterwards.
    """
    posted = Statement.objects.posted_since(first_late_day()).newest_first()
    return posted.with_sales().select_related("channel")


def first_late_day() -> date:
    return timezone.now().date() - timedelta(days=LATE_DAYS)


def voided_lately() -> QuerySet[Any, Any]:
    """The sales of late business dates that were voided: excluded for good, by store and day."""
    voided = ExcludedSale.objects.for_good().filter(business_date__gte=first_late_day())
    return voided.by_reason("-business_date", "channel__name", "channel__code")


def quarantined_documents() -> QuerySet[Any, Any]:
    """How many sales and orders of each channel HQ could not use: they are in no list of a day."""
    quarantined = Quarantine.objects.open().filter(table=HEADER.event)
    channels = quarantined.order_by().values("database__channel__code", "database__channel__name")
    counts: QuerySet[Any, Any] = channels.annotate(count=Count("pk"))
    return counts.order_by("database__channel__name")
