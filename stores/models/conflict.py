"""Conflicts: two edits of one field, neither of which had seen the other."""

from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.labels import label


class Choice(models.TextChoices):
    """How a conflict was closed: the first and the last by the program, the others by a person."""

    RULE = "rule", "Later edit kept"
    KEEP = "keep", "Kept value confirmed"
    TAKE = "take", "Other value used"
    BACK = "back", "Brought back by an edit that had seen the removal"


CHOICES_OF_PEOPLE = [Choice.KEEP, Choice.TAKE]
# The edit that was lost says that something is active which somebody else had removed.
OF_REMOVAL = {"field": "is_active", "lost_value": "true"}


IS_OPEN = Q(closed_at__isnull=True)


class EditConflictQuerySet(models.QuerySet["EditConflict"]):
    def open(self) -> Self:
        """Conflicts that a person has to close.

        They are edits of something removed, and edits with a wrong clock; a rule closes all others
        when it finds them.
        """
        return self.filter(IS_OPEN)

    def of_removals(self) -> Self:
        """Edits of something that somebody else had removed."""
        return self.filter(**OF_REMOVAL)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def with_places(self) -> Self:
        """Select also what a page shows: customer, both databases, and who closed it."""
        return self.select_related(
            "customer", "lost_database__channel", "kept_database__channel", "closed_by"
        )

    def for_customer(self, customer: Any) -> Self:
        """All conflicts of a customer, oldest first."""
        return self.filter(customer=customer).with_places().order_by("pk")


class EditConflict(models.Model):
    """One field of a customer that was changed in two places, each without the other's change.

    The conversion records it, and it is never deleted. The later edit is kept, the other one is
    lost. An edit without a database was made at HQ. Values are texts, as HQ stores them.
    """

    id = models.BigAutoField(primary_key=True)
    customer = models.ForeignKey(
        "Customer", models.PROTECT, db_constraint=False, related_name="conflicts"
    )
    # The event table of the edits, such as async_address.
    table = models.CharField(max_length=20)
    # Which of the customer's addresses, contacts, affiliations or attributes.
    key = models.CharField(max_length=60, blank=True)
    field = models.CharField(max_length=40)
    lost_value = models.TextField(blank=True)
    kept_value = models.TextField(blank=True)
    lost_event = models.UUIDField()
    kept_event = models.UUIDField()
    lost_database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    kept_database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    # When the edits were made, by the clocks of their places.
    lost_at = models.DateTimeField()
    kept_at = models.DateTimeField()
    # Whether a clock was more than 15 minutes wrong: the later edit may not be the later one.
    clock_skewed = models.BooleanField()
    found_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    choice = models.CharField(max_length=4, choices=Choice.choices, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    # The event of HQ that wrote the lost value after all.
    made_event = models.UUIDField(null=True)

    objects = EditConflictQuerySet.as_manager()

    class Meta:
        db_table = "edit_conflict"
        constraints = [
            models.UniqueConstraint(
                fields=["lost_event", "kept_event", "field"], name="two_edits_conflict_once"
            ),
            models.CheckConstraint(
                condition=Q(choice="", closed_at__isnull=True)
                | Q(choice__in=Choice.values, closed_at__isnull=False),
                name="conflict_is_closed_by_a_choice",
            ),
            # The rule keeps the later edit. With a wrong clock, only a person can say which one.
            models.CheckConstraint(
                condition=~Q(choice=Choice.RULE) | Q(clock_skewed=False),
                name="no_rule_settles_a_wrong_clock",
            ),
            models.CheckConstraint(
                condition=~Q(choice=Choice.RULE, **OF_REMOVAL), name="no_rule_undoes_a_removal"
            ),
            models.CheckConstraint(
                condition=~Q(choice__in=CHOICES_OF_PEOPLE)
                | (Q(closed_by__isnull=False) & ~Q(reason="")),
                name="a_person_says_why",
            ),
            models.CheckConstraint(
                condition=Q(choice=Choice.TAKE, made_event__isnull=False)
                | (Q(made_event__isnull=True) & ~Q(choice=Choice.TAKE)),
                name="a_taken_value_has_its_event",
            ),
        ]
        indexes = [models.Index(fields=["id"], condition=IS_OPEN, name="edit_conflict_open")]

    def __str__(self) -> str:
        return f"conflict {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("conflict", args=[self.pk])

    @property
    def lost_place(self) -> str:
        """Where the lost edit was made, for people."""
        return self.lost_database.label if self.lost_database else "headquarters"

    @property
    def kept_place(self) -> str:
        """Where the kept edit was made, for people."""
        return self.kept_database.label if self.kept_database else "headquarters"

    @property
    def subject(self) -> str:
        """What was edited, for example Customer phone, or Customer VAT number."""
        name = label(self.field)
        is_abbreviation = name[:2].isupper()
        if not is_abbreviation:
            name = name[:1].lower() + name[1:]
        return f"{self.table.removeprefix('async_').capitalize()} {name}"

    @property
    def is_of_removal(self) -> bool:
        """Whether the lost edit changed something that somebody else had removed."""
        return all(getattr(self, name) == value for name, value in OF_REMOVAL.items())

    @property
    def is_left_to_people(self) -> bool:
        """Whether pages ask a person to decide: it is open, or only the rule has decided."""
        return self.choice in ("", Choice.RULE)

    @property
    def state(self) -> str:
        return "open" if self.closed_at is None else "closed"

    @property
    def is_settled_by_person(self) -> bool:
        return self.choice in CHOICES_OF_PEOPLE

    def settle(self, choice: Choice, reason: str, *, by: Any, event: UUID | None = None) -> bool:
        """Close it with a decision and its reason. Returns False if a person has decided already.

        What the program has decided can be decided again. A decision about something removed also
        closes all other conflicts about the same removal. The instance is not updated. Effects: two
        updates, in the caller's transaction.
        """
        unsettled = EditConflict.objects.filter(pk=self.pk).exclude(choice__in=CHOICES_OF_PEOPLE)
        closed = {"choice": choice, "reason": reason, "closed_by": by, "made_event": event}
        is_closed_now = bool(unsettled.update(closed_at=Now(), **closed))
        if is_closed_now and self.is_of_removal:
            others = EditConflict.objects.open().of_removals().filter(customer=self.customer_id)
            others.filter(table=self.table, key=self.key).update(closed_at=Now(), **closed)
        return is_closed_now
