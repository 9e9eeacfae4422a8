"""What a person must see and close: a restored database, a copy, a rule broken at the source."""

from typing import Any, Self

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import F, OuterRef, Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.channel import ChannelDatabase


class IncidentKind(models.TextChoices):
    HQ_BEHIND = "hq_behind", "Headquarters was restored from an older backup"
    HQ_MOVED = "hq_moved", "Headquarters runs on another server or database"
    CHANNEL_RESTORED = "channel_restored", "Channel was restored from an older backup"
    CHANNEL_FORKED = "channel_forked", "Channel database exists twice"
    WRONG_DATABASE = "wrong_database", "Not the registered database"
    SCHEMA_DRIFT = "schema_drift", "Channel's tables were changed"
    FORGOTTEN_ACCOUNT = "forgotten_account", "Channel knows an account that headquarters does not"
    CONTENT_CHANGED = "content_changed", "An event was changed after it was written"
    EVENT_TOO_LARGE = "event_too_large", "An event is too large to be fetched"
    EVENT_VANISHED = "event_vanished", "An event disappeared from its channel"
    PARTS_ALONE = "parts_without_header", "Lines or payments without their sale"
    POSTED_BEFORE = "posted_before", "Headquarters lost orders or invoices it had issued"
    JOURNAL_UNUSABLE = "journal_unusable", "The number journal cannot be written"
    RUN_GIVEN_UP = "run_given_up", "A run was lost repeatedly"
    MANY_QUARANTINED = "many_quarantined", "Channel sends many invalid rows"
    ROW_REFUSED = "row_refused", "A database rejects a row"
    MESSAGE_REFUSED = "message_refused", "The queue held a message that is not a run"


# While one of these is open, its channel database is not visited; the rest goes on. SCHEMA_DRIFT is
# not among them: every visit looks by itself, ends there while the tables are wrong, and closes the
# incident once they are right.
BLOCKS_DATABASE = (
    IncidentKind.CHANNEL_FORKED,
    IncidentKind.WRONG_DATABASE,
    IncidentKind.FORGOTTEN_ACCOUNT,
)
# While one of these is open, no account number is issued anywhere.
BLOCKS_CONVERSION = (IncidentKind.HQ_BEHIND, IncidentKind.HQ_MOVED)
# While one of these is open, no sales order is made and nothing is posted anywhere.
BLOCKS_POSTING = (*BLOCKS_CONVERSION, IncidentKind.POSTED_BEFORE)


# What a person does about it; the manual is docs/recovery.md.
NEXT_STEPS = {
    IncidentKind.HQ_BEHIND: (
        "Stop the workers and the scheduler, make sure that no second headquarters is running, and"
        " run recover_hq."
    ),
    IncidentKind.HQ_MOVED: (
        "Run the P-job. The incident closes automatically once every channel has been visited."
    ),
    IncidentKind.CHANNEL_RESTORED: (
        "Nothing is lost at headquarters. Review the events that the channel lost, then close this"
        " incident with a reason."
    ),
    IncidentKind.CHANNEL_FORKED: (
        "Find out which copy is in use. Point the channel's address to it and accept it. Give"
        " every other copy its own identity before it is used."
    ),
    IncidentKind.WRONG_DATABASE: (
        "Correct the channel's address and close this incident. If the database is the right one,"
        " accept it; if it is a copy for a new store, renew it."
    ),
    IncidentKind.SCHEMA_DRIFT: (
        "Undo the change in the channel's database, then close this incident."
    ),
    IncidentKind.FORGOTTEN_ACCOUNT: (
        "Run recover_hq. It names both accounts, or restores what headquarters lost."
    ),
    IncidentKind.CONTENT_CHANGED: "Find out who changes events in the channel's database.",
    IncidentKind.EVENT_VANISHED: "Find out who deletes events from the channel's database.",
    IncidentKind.PARTS_ALONE: (
        "Find out why the till wrote no header. Once it has, the whole sale is uploaded and this"
        " incident closes automatically."
    ),
    IncidentKind.POSTED_BEFORE: (
        "The sales of these orders and invoices arrive again and get new numbers. Cancel the old"
        " ones wherever they were exported to, or close their period, then close this incident and"
        " say what you did. Nothing is posted until then."
    ),
    IncidentKind.ROW_REFUSED: (
        "Read what the database said, and correct the rule there or the row. Every run tries"
        " again, and this incident closes automatically."
    ),
    IncidentKind.JOURNAL_UNUSABLE: (
        "Make room for the number journal, or correct SYNCLINE_JOURNAL_DIR. The next run writes"
        " what is missing, and this incident closes automatically."
    ),
    IncidentKind.RUN_GIVEN_UP: "Check the run's technical details, then start the job again.",
    IncidentKind.MESSAGE_REFUSED: "Find out who else writes to the queue.",
}


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        return self.filter(closed_at__isnull=True)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def blocking(self, database: ChannelDatabase) -> Self:
        """Open ones for which the database must not be visited."""
        return self.open().filter(database=database, kind__in=BLOCKS_DATABASE)

    def of_each_blocked(self) -> "models.QuerySet[Incident, Any]":
        """Subquery for databases: the open incident for which one must not be visited."""
        incidents = self.open().filter(database=OuterRef("pk"), kind__in=BLOCKS_DATABASE)
        return incidents.order_by("pk").values("pk")[:1]

    def blocked_databases(self) -> "models.QuerySet[Incident, Any]":
        """Numbers of the databases that must not be visited."""
        return self.open().filter(kind__in=BLOCKS_DATABASE).values_list("database", flat=True)

    def stopping_conversion(self) -> Self:
        """Open ones for which no account number may be issued."""
        return self.open().filter(kind__in=BLOCKS_CONVERSION)

    def stopping_posting(self) -> Self:
        """Open ones for which no sales order may be made and nothing posted."""
        return self.open().filter(kind__in=BLOCKS_POSTING)

    def report(
        self,
        kind: IncidentKind,
        message: str,
        *,
        database: ChannelDatabase | None = None,
        subject: str = "",
        detail: dict[str, Any] | None = None,
    ) -> "Incident":
        """Open an incident, or note that an open one was seen again.

        `message` and `detail` hold no personal data; `subject` parts incidents of one kind at one
        database. Effects: one row, in the caller's transaction.
        """
        incidents = self.open().filter(kind=kind, database=database, subject=subject)
        again = {"message": message, "detail": detail or {}, "last_seen_at": Now()}
        while not incidents.update(times=F("times") + 1, **again):
            try:
                with transaction.atomic():
                    return self.create(
                        kind=kind,
                        message=message,
                        database=database,
                        subject=subject,
                        detail=detail or {},
                    )
            except IntegrityError:
                continue
        return incidents.get()


class Incident(models.Model):
    """Something that is wrong until a person closes it, saying why."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=20, choices=IncidentKind.choices)
    database = models.ForeignKey(
        ChannelDatabase, models.PROTECT, null=True, blank=True, related_name="incidents"
    )
    subject = models.CharField(max_length=120, blank=True)
    message = models.CharField(max_length=500)
    detail = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    times = models.PositiveIntegerField(db_default=1)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    closing_reason = models.CharField(max_length=300, blank=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        db_table = "incident"
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "database", "subject"],
                condition=Q(closed_at__isnull=True),
                nulls_distinct=False,
                name="one_open_incident_of_a_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=IncidentKind.values), name="incident_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | ~Q(closing_reason=""),
                name="an_incident_is_closed_with_a_reason",
            ),
        ]
        permissions = [("release_fence", "Can close incidents and recover headquarters")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("incident", args=[self.pk])

    @property
    def next_step(self) -> str:
        return NEXT_STEPS.get(IncidentKind(self.kind), "")

    @property
    def status(self) -> str:
        return "closed" if self.closed_at else "open"

    @property
    def is_closed_by_hand(self) -> bool:
        """Whether a person may close it; a headquarters that is behind must be recovered."""
        return self.kind != IncidentKind.HQ_BEHIND

    def close(self, reason: str, *, by: Any = None) -> bool:
        """Close it with a reason. Says whether it was still open."""
        still_open = Incident.objects.open().filter(pk=self.pk)
        return bool(still_open.update(closed_at=Now(), closed_by=by, closing_reason=reason))
