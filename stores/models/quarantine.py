"""Quarantine: rows that channels sent and that HQ cannot use, with the reason."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Func, JSONField, Q, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Now

from stores.models.search import KEY_ARRAY, array_of, contains_key, searchable
from stores.values.characters import normalize_key


class QuarantineStatus(models.TextChoices):
    OPEN = "open", "Open"
    RELEASED = "released", "Released"
    DISMISSED = "dismissed", "Dismissed"
    SUPERSEDED = "superseded", "Superseded"


IS_OPEN = Q(status=QuarantineStatus.OPEN)
# How many rows a search reads. It parses the JSON of each, because no index has the values in it.
MAX_SEARCHED = 10_000


class QuarantineQuerySet(models.QuerySet["Quarantine"]):
    def open(self) -> Self:
        """Rows that nobody has released, dismissed or superseded yet."""
        return self.filter(IS_OPEN)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def within_search_limit(self) -> Self:
        """Keep to the newest open rows of customers and contacts, which are what a search reads.

        They are taken from all rows, not from `self`: with other filters, too, every search reads
        the same rows.
        """
        people = Quarantine.objects.open().filter(table__in=("async_customer", "async_contact"))
        return self.filter(pk__in=people.newest_first().values("pk")[:MAX_SEARCHED])

    def with_contact_key(self, key: str) -> Self:
        """Rows of customers and contacts with this e-mail address or phone number.

        `key` is one of stores.models.search.contact_key(). The functions of search.sql make no key
        of a row of the other table, because it lacks their columns.
        """
        customer_keys = keys_of_row("reach_keys", "email", "receipt_email", "phone")
        contact_keys = keys_of_row("contact_keys", "kind", "locator")
        return self.within_search_limit().filter(
            contains_key(customer_keys, key) | contains_key(contact_keys, key)
        )

    def with_name(self, text: str) -> Self:
        """Rows of customers whose name has all words of a text.

        Matches whole words only, so that people who may not see a name cannot guess it letter by
        letter.
        """
        rows = self.within_search_limit().annotate(words=words_of_name())
        for word in filter(None, map(normalize_key, text.split())):
            rows = rows.filter(words__contains=array_of(searchable(word)))
        return rows


class Quarantine(models.Model):
    """One row of a channel table that broke a rule on its way into HQ.

    An upload inserts it and acknowledges the event to the channel. It is never deleted: a person
    releases or dismisses it, or a later row of the same event supersedes it.
    """

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey("ChannelDatabase", models.PROTECT, related_name="quarantine")
    table = models.CharField(max_length=40)
    row_key = models.CharField(max_length=80, help_text="The row's counter in its table.")
    generation = models.IntegerField(db_default=1)
    event_id = models.UUIDField(null=True, db_index=True)
    async_account = models.UUIDField(null=True, db_index=True)
    account_number = models.CharField(max_length=20, blank=True, db_default="")
    # SHA-256 of the row as the channel has it: the same row is quarantined once.
    payload_hash = models.BinaryField(max_length=32)
    # One of stores.messages.reasons.REASONS, and the column that breaks the rule.
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40, blank=True)
    rule = models.CharField(
        max_length=120, blank=True, db_default="", help_text="What the field may hold."
    )
    # The row as JSON in UTF-8, with all its values. It never changes: a correction is a new event.
    raw = models.BinaryField()
    status = models.CharField(
        max_length=10, choices=QuarantineStatus.choices, db_default=QuarantineStatus.OPEN
    )
    # How often HQ has tried to stage it: uploads that read it again, and releases that failed.
    attempts = models.PositiveIntegerField(db_default=1)
    session = models.ForeignKey("UploadSession", models.PROTECT, related_name="quarantine")
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    settled_because = models.CharField(max_length=300, blank=True, db_default="")
    became = models.UUIDField(null=True, blank=True, help_text="The event staged in its place.")

    objects = QuarantineQuerySet.as_manager()

    class Meta:
        db_table = "quarantine"
        verbose_name = "quarantined row"
        verbose_name_plural = "quarantine"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "row_key", "payload_hash"],
                name="a_bad_row_is_kept_once",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="quarantine_has_a_reason"),
            models.CheckConstraint(
                condition=Q(status__in=QuarantineStatus.values), name="quarantine_status_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(settled_at__isnull=True) & IS_OPEN)
                | (~IS_OPEN & Q(settled_at__isnull=False)),
                name="a_settled_row_says_since_when",
            ),
            models.CheckConstraint(
                condition=~Q(status=QuarantineStatus.DISMISSED) | ~Q(settled_because=""),
                name="a_row_is_dismissed_with_a_reason",
            ),
        ]
        indexes = [
            # Open rows by cause, and in the list by reason.
            models.Index(
                fields=["database", "table", "reason", "field"],
                condition=IS_OPEN,
                name="quarantine_open_causes",
            ),
            models.Index(fields=["reason", "id"], condition=IS_OPEN, name="quarantine_open"),
        ]
        permissions = [
            ("resolve_quarantine", "Can release and correct quarantined rows"),
            ("dismiss_quarantine", "Can dismiss quarantined rows"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.row_key}"

    @property
    def is_open(self) -> bool:
        return self.status == QuarantineStatus.OPEN


# Parts of searches. The SQL functions are those of migrations/sql/search.sql.


def keys_of_row(function: str, *columns: str) -> Func:
    """The array of search keys that a SQL function makes of columns of the quarantined row."""
    return Func(*map(column_of_row, columns), function=function, output_field=KEY_ARRAY)


def words_of_name() -> Func:
    """The array of the words of the name in the quarantined row."""
    columns = ("name", "first_name", "middle_name", "last_name")
    name = Func(*map(column_of_row, columns), function="search_name", output_field=TextField())
    return Func(name, Value(r"\s+"), function="regexp_split_to_array", output_field=KEY_ARRAY)


def column_of_row(column: str) -> KeyTextTransform:
    """The value of a column of the quarantined row as text. NULL if the row has none."""
    raw_text = Func(F("raw"), Value("UTF8"), function="convert_from", output_field=TextField())
    return KeyTextTransform(column, Cast(raw_text, JSONField()))
