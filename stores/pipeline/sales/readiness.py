"""Whether a store's day can be posted: what will be converted on the way, and what stands in it.

Looks at what HQ holds, opens no channel and changes nothing. No blockers means that posting cannot
fail on a customer. Source: features E.9.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, QuerySet
from django.utils import timezone

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


DAYS = f"""
SELECT t.channel_id, t.business_date, count(*) AS sales,
       count(*) FILTER (WHERE t.validation_status = 'successful') AS validated,
       count(DISTINCT t.async_account) FILTER (
           WHERE t.customer_id IS NULL AND EXISTS (
               SELECT FROM async_customer s
                WHERE s.company_id = t.company_id AND s.async_account = t.async_account
                  AND s.status = 'pending')) AS customers,
       (SELECT count(DISTINCT a.address_id)
          FROM async_address a
         WHERE a.company_id = min(t.company_id) AND a.status = 'pending'
           AND a.async_account = ANY (array_agg(t.async_account))) AS addresses
  FROM {OPEN_DOCUMENTS} t
 GROUP BY t.channel_id, t.business_date ORDER BY t.business_date, t.channel_id"""  # noqa: S608

# The same questions in the same order as the jobs ask them; what is only not validated yet and has
# a customer is no blocker. A customer who is not here is missing until validation has looked, then
# unknown, as the transaction's page and what failed alike call it.
BLOCKERS = f"""
SELECT open.channel_id, open.business_date, why.reason, why.field, count(*) AS sales
  FROM (SELECT t.*, coalesce(t.customer_id, m.customer_id, k.id) AS buyer,
               t.customer_id IS NULL AND m.customer_id <> k.id AS names_two,
               h.default_customer_id
          FROM {OPEN_DOCUMENTS} t
          JOIN channel h ON h.id = t.channel_id
          LEFT JOIN guid_map m
                 ON m.async_account = t.async_account AND m.company_id = t.company_id
          LEFT JOIN customer k
                 ON k.account_number = t.account_number AND k.company_id = t.company_id) open
 CROSS JOIN LATERAL (
       SELECT CASE WHEN EXISTS (SELECT FROM transaction_error e
                                 WHERE e.transaction_id = open.id AND e.rule = 'customer_unknown')
                   THEN 'customer_unknown' ELSE 'customer_missing' END AS reason) missing
 CROSS JOIN LATERAL (
       SELECT 'identity_mismatch' AS reason, 'account_number' AS field, 1 AS place
        WHERE open.names_two
       UNION ALL
       SELECT q.reason, q.field, 2 FROM quarantine q
        WHERE open.buyer IS NULL AND q.async_account = open.async_account
          AND q.table = 'async_customer' AND q.status = 'open'
       UNION ALL
       SELECT s.reason, s.field, 3 FROM async_customer s
        WHERE open.buyer IS NULL AND s.company_id = open.company_id
          AND s.async_account = open.async_account AND s.status = 'failed'
       UNION ALL
       SELECT missing.reason, 'account_number', 4
        WHERE open.buyer IS NULL AND open.account_number IS NOT NULL
       UNION ALL
       SELECT missing.reason, 'async_account', 5
        WHERE open.buyer IS NULL AND open.async_account IS NOT NULL
          AND NOT EXISTS (SELECT FROM async_customer s
                           WHERE s.company_id = open.company_id AND s.status = 'pending'
                             AND s.async_account = open.async_account
                             AND s.account_number IS NULL)
       UNION ALL
       SELECT 'customer_not_active', 'customer', 6 FROM customer k
        WHERE k.id = coalesce(open.buyer, open.default_customer_id) AND k.state <> 'active'
          AND (open.buyer IS NOT NULL
               OR open.async_account IS NULL AND open.account_number IS NULL)
       UNION ALL
       SELECT 'default_customer_missing', 'customer', 7
        WHERE open.default_customer_id IS NULL AND open.buyer IS NULL
          AND open.async_account IS NULL AND open.account_number IS NULL
       UNION ALL
       (SELECT e.rule, e.field, 8 FROM transaction_error e
         WHERE e.transaction_id = open.id AND e.rule <> 'customer_unknown' ORDER BY e.id LIMIT 1)
       ORDER BY place LIMIT 1) why
 GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 3, 4"""  # noqa: S608


def readiness() -> list[Readiness]:
    """Every channel's business dates with sales that are not in a statement yet, oldest first."""
    channels = Channel.objects.in_bulk()
    board: dict[tuple[int, date], Readiness] = {}
    for channel, day, sales, validated, customers, addresses in fetch_rows(DAYS):
        board[channel, day] = Readiness(
            channels[channel], day, sales, validated, customers, addresses
        )
    for channel, day, reason, name, sales in fetch_rows(BLOCKERS):
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


def fetch_rows(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
