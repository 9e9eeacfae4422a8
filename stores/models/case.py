"""All that waits for a person in one list: quarantined rows, staged events that failed."""

from dataclasses import dataclass
from typing import Any, Self

from django.db import models
from django.db.models import Count, Min
from django.urls import reverse

from stores.models.channel import ChannelDatabase, database_label


class CaseStatus(models.TextChoices):
    """Of quarantined rows: open, released, dismissed, superseded. Of staged events: the others."""

    OPEN = "open", "Open"
    FAILED = "failed", "Failed"
    WAITING = "waiting", "Waiting"
    RELEASED = "released", "Released"
    DISMISSED = "dismissed", "Dismissed"
    SUPERSEDED = "superseded", "Superseded"


UNSETTLED_STATUSES = (CaseStatus.OPEN, CaseStatus.FAILED, CaseStatus.WAITING)


@dataclass(frozen=True)
class Cause:
    """Why rows failed; those of one cause can be resolved together.

    Written as CHANNEL:TABLE:REASON:FIELD, or CHANNEL/REGISTER for an offline register.
    """

    database: str
    table: str
    reason: str
    field: str

    def __str__(self) -> str:
        return f"{self.database}:{self.table}:{self.reason}:{self.field}"

    @classmethod
    def of(cls, row: dict[str, Any]) -> "Cause":
        """The cause of a row of CaseQuerySet.by_cause()."""
        label = database_label(row["database__channel__code"], row["database__name"])
        return cls(label, row["table"], row["reason"], row["field"])

    @classmethod
    def parse(cls, text: str) -> "Cause | None":
        """The cause that a text names, if it has the form of one."""
        parts = text.split(":")
        return cls(*parts) if len(parts) == 4 else None


class CaseQuerySet(models.QuerySet["Case"]):
    def unsettled(self) -> Self:
        """Quarantined, failed, or waiting for more than a day."""
        return self.filter(status__in=UNSETTLED_STATUSES)

    def with_cause(self, cause: Cause) -> Self:
        """Cases of one cause, settled or not."""
        code, _, name = cause.database.partition("/")
        return self.filter(
            database__channel__code=code,
            database__name=name,
            table=cause.table,
            reason=cause.reason,
            field=cause.field,
        )

    def by_cause(self) -> models.QuerySet[Any, Any]:
        """One row for each cause: its fields, the number of cases, the oldest, and one rule."""
        grouped = self.order_by().values(
            "database", "database__channel__code", "database__name", "table", "reason", "field"
        )
        return grouped.annotate(rows=Count("pk"), oldest=Min("since"), rule=Min("rule")).order_by(
            "-rows", "oldest"
        )


class Case(models.Model):
    """One row of the view quarantine_case.

    `id` is the number of a quarantined row, or the event id of a staged one: failed, or waiting
    for more than 24 hours.
    """

    id = models.CharField(primary_key=True, max_length=36)
    database = models.ForeignKey(ChannelDatabase, models.DO_NOTHING, null=True, related_name="+")
    table = models.CharField(max_length=40)
    # The row's counter in the channel's table.
    row_key = models.CharField(max_length=80)
    event_id = models.UUIDField(null=True)
    async_account = models.UUIDField(null=True)
    account_number = models.CharField(max_length=20, blank=True)
    # One of stores.messages.reasons.REASONS, the column it is about, and what that may hold.
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40)
    rule = models.CharField(max_length=120)
    status = models.CharField(max_length=10, choices=CaseStatus.choices)
    # How often HQ has tried to stage a quarantined row, or to apply a staged event.
    attempts = models.IntegerField()
    since = models.DateTimeField()

    objects = CaseQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "quarantine_case"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.table} {self.row_key}"

    def get_absolute_url(self) -> str:
        return reverse("quarantine-case", args=[self.id])

    @property
    def is_unsettled(self) -> bool:
        return self.status in UNSETTLED_STATUSES

    @property
    def cause(self) -> Cause:
        label = self.database.label if self.database else ""
        return Cause(label, self.table, self.reason, self.field)
