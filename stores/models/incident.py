"""Incidents: problems that a person has to know about, such as a restored or copied database.

An incident stays open until a person closes it, or until the program finds the problem resolved.
While it is open, some kinds block a channel database, the conversion of customers, or posting.
"""

from typing import Any, Self

from django.conf import settings
from django.db import models, transaction
from django.db.models import OuterRef, Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.messages.field import MessageField
from stores.messages.message import Message
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
    ROW_REFUSED = "row_refused", "A database refuses a row"
    MESSAGE_REFUSED = "message_refused", "The queue held a message that is not a run"


# An open incident of these kinds keeps jobs from visiting its channel database. SCHEMA_DRIFT does
# not: each visit checks the tables itself, stops while they are wrong, and closes the incident once
# they are right.
BLOCKS_DATABASE = (
    IncidentKind.CHANNEL_FORKED,
    IncidentKind.WRONG_DATABASE,
    IncidentKind.FORGOTTEN_ACCOUNT,
)
# What the last visit of a database says that such an incident has stopped.
BLOCKED_CODES = ("channel_blocked", "channel_reports")
# An open incident of these kinds stops the issuing of account numbers everywhere.
BLOCKS_CONVERSION = (IncidentKind.HQ_BEHIND, IncidentKind.HQ_MOVED)
# An open incident of these kinds stops sales orders and posting everywhere.
BLOCKS_POSTING = (*BLOCKS_CONVERSION, IncidentKind.POSTED_BEFORE)


IS_OPEN = Q(closed_at__isnull=True)


class IncidentQuerySet(models.QuerySet["Incident"]):
    def open(self) -> Self:
        """Incidents that neither a person nor the program has closed."""
        return self.filter(IS_OPEN)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def close(self, reason: str) -> int:
        """Close those that are open, by the program. Returns how many."""
        return sum(incident.close(reason) for incident in self.open())

    def blocking_databases(self) -> Self:
        """Open incidents that keep jobs from visiting their channel database."""
        return self.open().filter(kind__in=BLOCKS_DATABASE)

    def blocking_conversion(self) -> Self:
        """Open incidents that stop the issuing of account numbers."""
        return self.open().filter(kind__in=BLOCKS_CONVERSION)

    def blocking_posting(self) -> Self:
        """Open incidents that stop sales orders and posting."""
        return self.open().filter(kind__in=BLOCKS_POSTING)

    def blocking(self, database: ChannelDatabase) -> Self:
        """Open incidents that keep jobs from visiting this database."""
        return self.blocking_databases().filter(database=database)

    def oldest_blocking_pk(self, database: OuterRef) -> "models.QuerySet[Incident, Any]":
        """Subquery: the id of the oldest incident that blocks a database."""
        incidents = self.blocking_databases().filter(database=database)
        return incidents.order_by("pk").values("pk")[:1]

    def report(
        self,
        kind: IncidentKind,
        message: Message,
        *,
        database: ChannelDatabase | None = None,
        subject: str = "",
        detail: dict[str, Any] | None = None,
    ) -> "Incident":
        """Open an incident, or count another occurrence of one that is open.

        `subject` distinguishes incidents of the same kind and database. Effects: one row, in the
        caller's transaction.
        """
        detail = detail or {}
        incidents = self.open().select_for_update()
        with transaction.atomic():
            incident, is_new = incidents.get_or_create(
                kind=kind,
                database=database,
                subject=subject,
                defaults={"message": message, "detail": detail},
            )
            if not is_new:
                incident.count_occurrence(message, detail)
        return incident


class Incident(models.Model):
    """One problem. At most one incident of a kind, database and subject is open.

    A problem that is found again is counted while its incident is open, and opens a new one after.
    Incidents are never deleted.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=20, choices=IncidentKind.choices)
    database = models.ForeignKey(
        ChannelDatabase, models.PROTECT, null=True, blank=True, related_name="incidents"
    )
    # What it is about, where one database has several problems of a kind, such as a job's name.
    subject = models.CharField(max_length=120, blank=True)
    # Sentences for people, and keys and counts for programs. Neither holds personal data.
    message = MessageField()
    detail = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    times = models.PositiveIntegerField(db_default=1, help_text="How often it was reported.")
    closed_at = models.DateTimeField(null=True, blank=True)
    # None: closed by the program, or with a command.
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
                condition=IS_OPEN,
                nulls_distinct=False,
                name="one_open_incident_of_a_kind",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=IncidentKind.values), name="incident_kind_is_known"
            ),
            models.CheckConstraint(
                condition=IS_OPEN | ~Q(closing_reason=""),
                name="an_incident_is_closed_with_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=False) | Q(closed_by__isnull=True, closing_reason=""),
                name="an_open_incident_has_no_closing_reason",
            ),
            # Only recover_hq brings back what headquarters lost.
            models.CheckConstraint(
                condition=~Q(kind=IncidentKind.HQ_BEHIND) | Q(closed_by__isnull=True),
                name="nobody_closes_a_headquarters_that_is_behind",
            ),
        ]
        permissions = [("release_fence", "Can close incidents and recover headquarters")]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("incident", args=[self.pk])

    @property
    def next_step(self) -> str:
        """What a person does about it; empty if the message says everything."""
        return NEXT_STEPS.get(IncidentKind(self.kind), "")

    @property
    def status(self) -> str:
        """Open or closed, as pages and JSON say it."""
        return "closed" if self.closed_at else "open"

    @property
    def can_be_closed_by_hand(self) -> bool:
        """Whether a person may close it. A headquarters that is behind must be recovered."""
        return self.kind != IncidentKind.HQ_BEHIND

    def count_occurrence(self, message: Message, detail: dict[str, Any]) -> None:
        """Record that it was reported again; the caller holds the row."""
        self.message, self.detail = message, detail
        self.times += 1
        self.last_seen_at = Now()
        self.save(update_fields=["message", "detail", "times", "last_seen_at"])
        self.refresh_from_db(fields=["last_seen_at"])

    def close(self, reason: str, *, by: Any = None) -> bool:
        """Close it with a reason. Returns whether it was open. The instance is not updated.

        Effects: once nothing blocks its database any more, the next run visits that.
        """
        open_incident = Incident.objects.open().filter(pk=self.pk)
        closed = {"closed_at": Now(), "closed_by": by, "closing_reason": reason}
        if self.database_id is None or self.kind not in BLOCKS_DATABASE:
            return bool(open_incident.update(**closed))
        with transaction.atomic():
            # Visits lock the database before its incidents.
            database = ChannelDatabase.objects.select_for_update().get(pk=self.database_id)
            was_open = bool(open_incident.update(**closed))
            if was_open and not Incident.objects.blocking(database).exists():
                database.forget_errors(BLOCKED_CODES)
        return was_open


# What a person does about an incident. The manual is docs/recovery.md.
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
        "Correct the channel's address: that closes this incident. If the right database is there"
        " again without that, close it. If the database there is the right one, accept it; if it is"
        " a copy for a new store, renew it."
    ),
    IncidentKind.SCHEMA_DRIFT: (
        "Undo the change in the channel's database. The next visit then closes this incident."
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
        "Read what the database said, and correct the rule there or the row. This incident closes"
        " automatically once the row is accepted. Send a suspended download session again, or"
        " cancel it."
    ),
    IncidentKind.JOURNAL_UNUSABLE: (
        "Make room for the number journal, or correct SYNCLINE_JOURNAL_DIR. The next run writes"
        " what is missing, and this incident closes automatically."
    ),
    IncidentKind.RUN_GIVEN_UP: "Check the run's technical details, then start the job again.",
    IncidentKind.MESSAGE_REFUSED: "Find out who else writes to the queue.",
}
