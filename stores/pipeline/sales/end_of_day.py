"""What the end-of-day page lists beside the days to be posted."""

from datetime import date, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.utils import timezone

from stores.models import ExcludedSale, Quarantine, Statement
from stores.pipeline.events.document_tables import HEADER

# How many days back the page shows posted statements and voided sales. The lists show all.
RECENT_DAYS = 31


def first_recent_day() -> date:
    return timezone.localdate() - timedelta(days=RECENT_DAYS)


def open_statements() -> QuerySet[Statement]:
    statements = Statement.objects.open().with_sales().select_related("channel")
    return statements.order_by("business_date", "pk")


def recently_posted() -> QuerySet[Statement]:
    posted = Statement.objects.posted_since(first_recent_day()).newest_first()
    return posted.with_sales().select_related("channel")


def recently_voided() -> QuerySet[Any, Any]:
    voided = ExcludedSale.objects.for_good().filter(business_date__gte=first_recent_day())
    return voided.by_reason("-business_date", "channel__name", "channel__code")


def quarantined_documents() -> QuerySet[Any, Any]:
    """Return how many sales and orders of each channel are quarantined. No day contains them."""
    quarantined = Quarantine.objects.open().filter(table=HEADER.event)
    return (
        quarantined.order_by()
        .values("database__channel__code", "database__channel__name")
        .annotate(count=Count("pk"))
        .order_by("database__channel__name")
    )
