"""One visit that carried rows: up from a channel database, or down to it."""

import uuid
from typing import Self

from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.urls import reverse

from stores.messages.field import MessageField
from stores.messages.message import Message
from stores.models.job import JobCode
from stores.models.package import ChangeRange


class UploadStatus(models.TextChoices):
    STARTED = "started", "Started"
    AVAILABLE = "available", "Available"
    UPLOADED = "uploaded", "Uploaded"
    APPLIED = "applied", "Applied"
    CANCELED = "canceled", "Canceled"
    UPLOAD_FAILED = "upload_failed", "Upload failed"
    APPLY_FAILED = "apply_failed", "Apply failed"


class DownloadStatus(models.TextChoices):
    STARTED = "started", "Started"
    AVAILABLE = "available", "Available"
    REQUESTED = "requested", "Requested"
    DOWNLOADED = "downloaded", "Downloaded"
    APPLIED = "applied", "Applied"
    CANCELED = "canceled", "Canceled"
    CREATE_FAILED = "create_failed", "Create failed"
    DOWNLOAD_FAILED = "download_failed", "Download failed"
    APPLY_FAILED = "apply_failed", "Apply failed"
    NO_DATA = "no_data", "No data"
    SUSPENDED = "suspended", "Suspended"


# Its package is to be made; there is one such session of a database, which each try goes on with.
UNMADE_DOWNLOADS = (
    DownloadStatus.STARTED,
    DownloadStatus.CREATE_FAILED,
    DownloadStatus.NO_DATA,
)
# What a person may cancel, and what may be deleted because it brought nothing.
CANCELABLE = (
    DownloadStatus.CREATE_FAILED,
    DownloadStatus.NO_DATA,
    DownloadStatus.AVAILABLE,
    DownloadStatus.REQUESTED,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
    DownloadStatus.SUSPENDED,
)
DELETABLE = (
    DownloadStatus.AVAILABLE,
    DownloadStatus.CANCELED,
    DownloadStatus.CREATE_FAILED,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
    DownloadStatus.NO_DATA,
    DownloadStatus.SUSPENDED,
)
# The next download tries it.
DUE_DOWNLOADS = (
    DownloadStatus.AVAILABLE,
    DownloadStatus.REQUESTED,
    DownloadStatus.DOWNLOADED,
    DownloadStatus.DOWNLOAD_FAILED,
    DownloadStatus.APPLY_FAILED,
)
# The package still has to reach the database.
OPEN_DOWNLOADS = (*DUE_DOWNLOADS, DownloadStatus.SUSPENDED)


class Session(models.Model):
    """What both directions share; `parts` counts the transactions that carried rows."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    run = models.ForeignKey("stores.JobRun", models.PROTECT, null=True, related_name="%(class)ss")
    database = models.ForeignKey(
        "stores.ChannelDatabase", models.PROTECT, related_name="%(class)ss"
    )
    parts = models.PositiveIntegerField(default=0)
    size_bytes = models.BigIntegerField(default=0)
    message = MessageField()
    started_at = models.DateTimeField(db_default=Now())
    applied_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        ordering = ["-started_at", "-pk"]
        indexes = [models.Index(fields=["started_at", "id"], name="%(class)s_newest")]

    def __str__(self) -> str:
        return str(self.id)


class UploadSessionQuerySet(models.QuerySet["UploadSession"]):
    def close_open(self, message: Message) -> None:
        """Let those fail that are not over, for nobody goes on with them."""
        self.filter(status=UploadStatus.UPLOADED).update(
            status=UploadStatus.APPLY_FAILED, message=message
        )
        self.filter(status__in=[UploadStatus.STARTED, UploadStatus.AVAILABLE]).update(
            status=UploadStatus.UPLOAD_FAILED, message=message
        )


class UploadSession(Session):
    """Events read from one channel database: staged, known already, or quarantined."""

    status = models.CharField(
        max_length=13, choices=UploadStatus.choices, default=UploadStatus.STARTED
    )
    read = models.BigIntegerField(default=0)
    staged = models.BigIntegerField(default=0)
    unchanged = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    waiting = models.BigIntegerField(default=0)

    objects = UploadSessionQuerySet.as_manager()

    class Meta(Session.Meta):
        db_table = "upload_session"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UploadStatus.values), name="upload_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    read=F("staged") + F("unchanged") + F("quarantined") + F("waiting"),
                ),
                name="every_row_read_is_accounted_for",
            ),
        ]


class DownloadSessionQuerySet(models.QuerySet["DownloadSession"]):
    def open(self) -> Self:
        """Sessions whose package, or whose customers, still have to reach the database."""
        return self.filter(status__in=OPEN_DOWNLOADS)

    def due(self) -> Self:
        """Open sessions that the next download tries."""
        return self.filter(status__in=DUE_DOWNLOADS)

    def unmade(self) -> Self:
        """Sessions whose package is still to be made."""
        return self.filter(status__in=UNMADE_DOWNLOADS)

    def unfinished(self) -> Self:
        return self.filter(status__in=(*UNMADE_DOWNLOADS, *OPEN_DOWNLOADS))

    def cancelable(self) -> Self:
        """Sessions that are not over, and whose data is not on its way."""
        return self.filter(status__in=CANCELABLE)

    def deletable(self) -> Self:
        """Sessions that are not on their way, and brought nothing."""
        return self.filter(status__in=DELETABLE, parts=0, exceptions=None)

    def close_open(self, message: Message) -> None:
        """Let those fail that are on their way, for nobody goes on with them."""
        self.filter(status=DownloadStatus.STARTED).update(
            status=DownloadStatus.CREATE_FAILED, message=message
        )
        self.filter(
            status__in=[
                DownloadStatus.AVAILABLE,
                DownloadStatus.REQUESTED,
                DownloadStatus.DOWNLOADED,
            ]
        ).update(status=DownloadStatus.DOWNLOAD_FAILED, message=message)


class DownloadSession(Session):
    """One package for one channel database, or single customers that it lacks."""

    # None until it is made.
    package = models.ForeignKey(
        "stores.Package", models.PROTECT, null=True, related_name="sessions"
    )
    # Who canceled it or had it sent again; None: nobody, or somebody with a command.
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    sends_single_customers = models.BooleanField(default=False, db_default=False)
    tries = models.PositiveIntegerField(default=0, db_default=0)
    requested_at = models.DateTimeField(null=True)
    downloaded_at = models.DateTimeField(null=True)
    # When the database first took a part of it, and refused the rest, which held it up.
    partly_applied_at = models.DateTimeField(null=True)
    job = models.CharField(max_length=20, default=JobCode.DOWNLOAD)
    status = models.CharField(
        max_length=15, choices=DownloadStatus.choices, default=DownloadStatus.STARTED
    )
    customers = models.BigIntegerField(default=0)
    rows = models.BigIntegerField(default=0)

    objects = DownloadSessionQuerySet.as_manager()

    class Meta(Session.Meta):
        db_table = "download_session"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=DownloadStatus.values), name="download_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(package__isnull=False, sends_single_customers=False)
                & ~Q(status__in=UNMADE_DOWNLOADS)
                | Q(package__isnull=True, sends_single_customers=True)
                & ~Q(status__in=UNMADE_DOWNLOADS)
                | Q(
                    package__isnull=True,
                    sends_single_customers=False,
                    status__in=(*UNMADE_DOWNLOADS, DownloadStatus.CANCELED),
                ),
                name="a_session_sends_a_package_or_customers",
            ),
            models.UniqueConstraint(
                fields=["database"],
                condition=Q(status__in=UNMADE_DOWNLOADS),
                name="one_package_is_made_for_a_database",
            ),
            models.UniqueConstraint(
                fields=["database", "package"],
                condition=Q(status__in=OPEN_DOWNLOADS),
                nulls_distinct=False,
                name="a_package_is_offered_once",
            ),
        ]

    def get_absolute_url(self) -> str:
        return reverse("download", args=[self.pk])


class DatabaseId(Func):
    """The database as a range of one, for a GiST index."""

    function = "int8range"

    def __init__(self) -> None:
        super().__init__("database_id", "database_id", Value("[]"))


class DownloadRange(models.Model):
    """What neighboring sessions have brought a database that were applied some time ago.

    A range of the chain holds every package of it, whose rows say more about when; a range of
    shortcuts holds those that were made for this database. The latter is also what a database has
    by its own word alone: then it has no beginning, and no sessions.
    """

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey(
        "stores.ChannelDatabase", models.PROTECT, related_name="download_ranges"
    )
    is_shortcut = models.BooleanField()
    from_no = models.BigIntegerField()
    to_no = models.BigIntegerField()
    # The company's latest change when its last package was made: what changed later is not in it.
    latest_no = models.BigIntegerField()
    first_applied_at = models.DateTimeField(null=True)
    last_applied_at = models.DateTimeField()
    sessions = models.BigIntegerField()
    customers = models.BigIntegerField()
    rows = models.BigIntegerField()

    class Meta:
        db_table = "download_range"
        constraints = [
            models.CheckConstraint(
                condition=Q(from_no__gte=0, from_no__lt=F("to_no"), to_no__lte=F("latest_no")),
                name="a_range_has_an_end",
            ),
            models.CheckConstraint(
                condition=Q(
                    first_applied_at__isnull=False,
                    first_applied_at__lte=F("last_applied_at"),
                    sessions__gt=0,
                )
                | Q(first_applied_at__isnull=True, sessions=0, is_shortcut=True),
                name="sessions_of_a_range_have_times",
            ),
            ExclusionConstraint(
                name="ranges_of_the_chain_never_overlap",
                expressions=[(DatabaseId(), "&&"), (ChangeRange(), "&&")],
                condition=Q(is_shortcut=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.database_id} {self.from_no}-{self.to_no}"
