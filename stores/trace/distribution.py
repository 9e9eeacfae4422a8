"""What HQ knows of a customer's way to the channel databases, in a few queries."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q

from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    DownloadException,
    DownloadSession,
    ExcludedDatabase,
    Incident,
)
from stores.models.job import JobCode
from stores.pipeline.download.sessions import suspended_in_strict_order


@dataclass(frozen=True)
class Distribution:
    """Which databases have a customer, and what keeps the others from it; all by database."""

    customer: Customer | None
    # What arrived and is still there, oldest first.
    held: dict[int, list[CustomerDelivery]]
    # The databases that lack its present version, and those that are sent no customers.
    lacking: set[int]
    left_out: set[int]
    exceptions: dict[int, DownloadException]
    # The oldest incident that stops visits.
    incidents: dict[int, int]
    # The session that, in strict order, all later ones wait for.
    suspended: dict[int, DownloadSession]
    # The session that is to bring the customer.
    sessions: dict[int, DownloadSession]


def load_distribution(
    customer: Customer | None, databases: Sequence[ChannelDatabase]
) -> Distribution:
    """Read what is known of a customer and these databases; of none, nothing is known."""
    if customer is None:
        return Distribution(None, {}, set(), set(), {}, {}, {}, {})
    exceptions = DownloadException.objects.open().filter(customer=customer)
    blocking = Incident.objects.blocking_databases().filter(database__in=databases)
    suspended = suspended_in_strict_order().filter(database__in=databases)
    return Distribution(
        customer,
        CustomerDelivery.objects.held_of(customer),
        set(customer.databases_lacking().values_list("pk", flat=True)),
        ExcludedDatabase.objects.from_job(JobCode.DOWNLOAD),
        {exception.database_id: exception for exception in exceptions},
        # The oldest comes last, and stays.
        dict(blocking.order_by("-pk").values_list("database_id", "pk")),
        {session.database_id: session for session in suspended},
        {session.database_id: session for session in sessions_with(customer, databases)},
    )


def sessions_with(
    customer: Customer, databases: Sequence[ChannelDatabase]
) -> Sequence[DownloadSession]:
    """The unfinished sessions that are to bring a customer, or whose package is not made yet."""
    brings_customer = Q(package=None, sends_single_customers=False) | Q(
        package__from_no__lt=customer.change_no, package__to_no__gte=customer.change_no
    )
    unfinished = DownloadSession.objects.unfinished().filter(database__in=databases)
    return list(unfinished.filter(brings_customer)) if customer.change_no is not None else []
