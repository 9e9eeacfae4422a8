"""Changes of customers by their numbers, and the packages that bring them to the channels."""

from collections import defaultdict
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.contrib.postgres.indexes import GistIndex
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now

from stores.messages.field import MessageField
from stores.messages.message import EMPTY, Message

if TYPE_CHECKING:
    from stores.models.customer import Customer


class CustomerChange(models.Model):
    """One change of a customer or of what belongs to it. Triggers on `customer` write the rows."""

    pk = models.CompositePrimaryKey("customer_id", "change_no")
    customer = models.ForeignKey(
        "Customer", models.PROTECT, db_index=False, db_constraint=False, related_name="changes"
    )
    change_no = models.BigIntegerField()
    version = models.BigIntegerField()
    # When it was made, within its transaction: not before the time of the events that it applied,
    # which is the start of the transaction.
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "customer_change"

    def __str__(self) -> str:
        return f"{self.customer_id} change {self.change_no}"


class ChangeRange(Func):
    """The change numbers of a package: beyond the first, up to and including the second."""

    function = "int8range"

    def __init__(self) -> None:
        super().__init__("from_no", "to_no", Value("(]"))


class PackageQuerySet(models.QuerySet["Package"]):
    def available(self) -> Self:
        """Packages whose data is still there."""
        return self.filter(dropped_at=None)

    def chain(self) -> Self:
        """The packages that follow each other without a gap; the others are shortcuts."""
        return self.filter(is_shortcut=False)


class Package(models.Model):
    """What one company's customers say whose latest change lies in a range of change numbers.

    Made once for all the channel databases that stand where it begins. The row stays when the data
    has been dropped: sessions and traces refer to it.
    """

    id = models.BigAutoField(primary_key=True)
    company = models.ForeignKey("Company", models.PROTECT, related_name="packages")
    from_no = models.BigIntegerField()
    to_no = models.BigIntegerField()
    # The company's latest change when the package was made: what changed later is not in it.
    latest_no = models.BigIntegerField()
    # Made for a database that was further back, and leads it to the others again.
    is_shortcut = models.BooleanField(default=False)
    # Every customer in it was created after `from_no`, so that a database which stands there has
    # none of them yet: rows are inserted without looking for older ones.
    is_all_new = models.BooleanField(default=False)
    customers = models.BigIntegerField()
    rows = models.BigIntegerField()
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    run = models.ForeignKey("JobRun", models.PROTECT, null=True, related_name="packages")
    made_at = models.DateTimeField(db_default=Now())
    dropped_at = models.DateTimeField(null=True)
    # Of its sessions that are parts of a range by now.
    last_applied_at = models.DateTimeField(null=True)

    objects = PackageQuerySet.as_manager()

    class Meta:
        db_table = "package"
        constraints = [
            models.CheckConstraint(
                condition=Q(from_no__gte=0, from_no__lt=F("to_no"), to_no__lte=F("latest_no")),
                name="a_package_has_a_range",
            ),
            models.UniqueConstraint(
                fields=["company", "from_no"],
                condition=Q(is_shortcut=False),
                name="the_chain_never_forks",
            ),
            models.UniqueConstraint(
                fields=["company", "from_no", "to_no"],
                condition=Q(dropped_at=None),
                name="a_range_is_packed_once",
            ),
        ]
        indexes = [
            models.Index(fields=["company", "to_no"], name="package_end"),
            # Which packages a change is in.
            GistIndex(ChangeRange(), name="package_range"),
        ]

    def __str__(self) -> str:
        return f"{self.company_id} {self.from_no}-{self.to_no}"


class PackageTable(models.Model):
    """The rows of a package for one table of a channel, as COPY data in the text format."""

    pk = models.CompositePrimaryKey("package_id", "name")
    package = models.ForeignKey(Package, models.CASCADE, db_index=False, related_name="tables")
    name = models.CharField(max_length=40)
    position = models.PositiveSmallIntegerField()
    rows = models.BigIntegerField()
    data = models.TextField()

    class Meta:
        db_table = "package_table"

    def __str__(self) -> str:
        return f"{self.package_id} {self.name}"


class ExceptionReason(models.TextChoices):
    REFUSED = "refused", "The channel refuses it"
    NOT_ARRIVED = "not_arrived", "It was not in the channel"
    REQUESTED = "requested", "Asked for"


class DownloadExceptionQuerySet(models.QuerySet["DownloadException"]):
    def open(self) -> Self:
        return self.filter(settled_at=None)

    def lacking(self) -> Self:
        """Customers that the database lacks; what is only asked for again, it has."""
        return self.open().exclude(reason=ExceptionReason.REQUESTED)

    def holding_up(self) -> Self:
        """Refused customers for whom, in strict order, later packages wait."""
        return self.open().filter(holds_up=True)


class DownloadException(models.Model):
    """A customer that a channel database lacks, although its position is past the change.

    Each download tries it again. The row stays when it has arrived: it says since when.
    """

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey("ChannelDatabase", models.PROTECT, related_name="exceptions")
    customer = models.ForeignKey("Customer", models.PROTECT, related_name="exceptions")
    reason = models.CharField(max_length=11, choices=ExceptionReason.choices)
    # Who asked for it; None: nobody, or somebody with a command.
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    # In strict order: the package that brings it is not passed, until someone cancels its session.
    holds_up = models.BooleanField(default=False, db_default=False)
    # What the channel said, without values of the row.
    message = MessageField()
    since = models.DateTimeField(db_default=Now())
    tries = models.PositiveIntegerField(default=0)
    tried_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # The session that brought the customer, and in which version.
    session = models.ForeignKey(
        "DownloadSession", models.PROTECT, null=True, related_name="exceptions"
    )
    version = models.BigIntegerField(null=True)

    objects = DownloadExceptionQuerySet.as_manager()

    class Meta:
        db_table = "download_exception"
        constraints = [
            models.CheckConstraint(
                condition=Q(reason__in=ExceptionReason.values), name="exception_reason_is_known"
            ),
            models.CheckConstraint(
                condition=Q(holds_up=False)
                | Q(reason=ExceptionReason.REFUSED, settled_at__isnull=True),
                name="only_a_refused_customer_holds_up_others",
            ),
            models.UniqueConstraint(
                fields=["database", "customer"],
                condition=Q(settled_at=None),
                name="one_open_exception_per_customer",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.database_id} {self.customer_id} {self.reason}"


MAX_LISTED_ACCOUNTS = 3


def listed_accounts(exceptions: DownloadExceptionQuerySet) -> Message:
    """The accounts of the first exceptions as they stand in a sentence: A, B, C and 2 more."""
    accounts = exceptions.order_by("customer__account_number").values_list(
        "customer__account_number", flat=True
    )
    listed = [str(account) for account in accounts[:MAX_LISTED_ACCOUNTS]]
    more = accounts.count() - MAX_LISTED_ACCOUNTS
    if more > 0:
        return Message("listed_and_more", listed=listed, count=more)
    return Message("listed", listed=listed) if listed else EMPTY


class CustomerDeliveryQuerySet(models.QuerySet["CustomerDelivery"]):
    def of(self, customer: "Customer") -> dict[int, list["CustomerDelivery"]]:
        """What arrived of a customer, oldest first, by database."""
        arrived: dict[int, list[CustomerDelivery]] = defaultdict(list)
        for delivery in self.filter(customer=customer).select_related("session", "database"):
            arrived[delivery.database_id].append(delivery)
        for deliveries in arrived.values():
            deliveries.sort(key=lambda delivery: (delivery.delivered_at, delivery.version))
        return dict(arrived)

    def held_of(self, customer: "Customer") -> dict[int, list["CustomerDelivery"]]:
        """What arrived of a customer and is still there, oldest first, by database.

        Left out: what lies behind the position that a database was set back to, and all of a
        database that has lost the customer.
        """
        lost = DownloadException.objects.open().filter(
            customer=customer, reason=ExceptionReason.NOT_ARRIVED
        )
        lost_in = set(lost.values_list("database", flat=True))
        held = {
            database: [delivery for delivery in deliveries if delivery.is_held]
            for database, deliveries in self.of(customer).items()
            if database not in lost_in
        }
        return {database: deliveries for database, deliveries in held.items() if deliveries}


class CustomerDelivery(models.Model):
    """A view: a customer arrived at a channel database, in a version, by a session.

    Of a session that is part of a range by now it says between which times it was applied.
    """

    pk = models.CompositePrimaryKey("database_id", "customer_id", "change_no", "delivered_at")
    database = models.ForeignKey("ChannelDatabase", models.DO_NOTHING, related_name="+")
    customer = models.ForeignKey("Customer", models.DO_NOTHING, related_name="deliveries")
    change_no = models.BigIntegerField()
    version = models.BigIntegerField()
    session = models.ForeignKey("DownloadSession", models.DO_NOTHING, null=True, related_name="+")
    earliest_at = models.DateTimeField()
    delivered_at = models.DateTimeField()
    # Up to where the database must be for the customer to be there; null: anywhere.
    to_no = models.BigIntegerField(null=True)

    objects = CustomerDeliveryQuerySet.as_manager()

    class Meta:
        db_table = "customer_delivery"
        managed = False

    def __str__(self) -> str:
        return f"{self.database_id} {self.customer_id} version {self.version}"

    @property
    def is_held(self) -> bool:
        """Whether the database is not set back behind it."""
        database = self.database
        return self.to_no is None or self.to_no <= max(database.position, database.received_no)
