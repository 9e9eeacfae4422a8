"""Quarantine: rows that channels sent and that HQ cannot use, with the reason."""

from typing import Self

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, JSONField, Q, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Now

from stores.models.characters import normalize_key
from stores.models.search import KEY_ARRAY, contains_key, searchable


class QuarantineStatus(models.TextChoices):
    OPEN = "open", "Open"
    RELEASED = "released", "Released"
    DISMISSED = "dismissed", "Dismissed"
    SUPERSEDED = "superseded", "Superseded"


class QuarantineQuerySet(models.QuerySet["Quarantine"]):
    def open(self) -> Self:
        return self.filter(status=QuarantineStatus.OPEN)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def of_people(self) -> Self:
        """The newest open rows of customers and contacts."""
        rows = Quarantine.objects.open().filter(table__in=("async_customer", "async_contact"))
        return self.filter(pk__in=rows.newest_first().values("pk")[:MAX_SEARCHED])

    def reached_at(self, key: str) -> Self:
        """Rows of customers and contacts with this e-mail address or phone number.

        `key` is one of stores.models.search.contact_key().
        """
        own = function_of("reach_keys", "email", "receipt_email", "phone")
        of_contact = function_of("contact_keys", "kind", "locator")
        return self.of_people().filter(contains_key(own, key) | contains_key(of_contact, key))

    def with_name(self, text: str) -> Self:
        """Rows of customers whose name has all words of a text.

        Only whole words match. Otherwise people without the right to see a name could find it out
        letter by letter.
        """
        columns = ("name", "first_name", "middle_name", "last_name")
        name = Func(*map(column_value, columns), function="search_name", output_field=TextField())
        words = Func(
            name,
            Value(r"\s+"),
            function="regexp_split_to_array",
            output_field=ArrayField(TextField()),
        )
        rows = self.of_people().annotate(words=words)
        for word in filter(None, map(normalize_key, text.split())):
            searched_word = Func(
                searchable(word), template="ARRAY[%(expressions)s]", output_field=KEY_ARRAY
            )
            rows = rows.filter(words__contains=searched_word)
        return rows


def function_of(function: str, *columns: str) -> Func:
    """Call a SQL function that returns keys, for columns of the quarantined row."""
    return Func(*map(column_value, columns), function=function, output_field=KEY_ARRAY)


def column_value(column: str) -> KeyTextTransform:
    """The value of a column in the JSON of the quarantined row. NULL if it has none."""
    text = Func(F("raw"), Value("UTF8"), function="convert_from", output_field=TextField())
    return KeyTextTransform(column, Cast(text, JSONField()))


# How many rows a search reads. It parses each of them, because there is no index.
MAX_SEARCHED = 10_000


class Quarantine(models.Model):
    """One row of a channel table that broke a rule on its way into HQ.

    `raw` has all its values and never changes. A correction is an event of its own; `became` then
    has the id of that event.
    """

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey("ChannelDatabase", models.PROTECT, related_name="quarantine")
    table = models.CharField(max_length=40)
    row_key = models.CharField(max_length=80, help_text="The row's counter in its table.")
    generation = models.IntegerField(db_default=1)
    event_id = models.UUIDField(null=True, db_index=True)
    async_account = models.UUIDField(null=True, db_index=True)
    account_number = models.CharField(max_length=20, blank=True, db_default="")
    payload_hash = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40, blank=True)
    rule = models.CharField(
        max_length=120, blank=True, db_default="", help_text="What the field may hold."
    )
    raw = models.BinaryField()
    status = models.CharField(
        max_length=10, choices=QuarantineStatus.choices, db_default=QuarantineStatus.OPEN
    )
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
                condition=Q(status=QuarantineStatus.OPEN, settled_at__isnull=True)
                | (~Q(status=QuarantineStatus.OPEN) & Q(settled_at__isnull=False)),
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
                condition=Q(status=QuarantineStatus.OPEN),
                name="quarantine_open_causes",
            ),
            models.Index(
                fields=["reason", "id"],
                condition=Q(status=QuarantineStatus.OPEN),
                name="quarantine_open",
            ),
        ]
        permissions = [
            ("resolve_quarantine", "Can release and correct quarantined rows"),
            ("dismiss_quarantine", "Can dismiss quarantined rows"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.row_key}"
