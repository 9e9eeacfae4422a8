"""Edit conflicts: two places changed one field of a customer, each without the other's change.

A *place* is headquarters or the database of a channel. The customer has the value of the *kept*
edit; that of the *lost* edit was replaced. Usually the conversion of customers, which finds a
conflict, also closes it by a rule: the later edit is kept. A person has to decide in two cases:

- A clock was wrong, so that the later edit may not be the later one.
- The lost edit is of something, such as an address, that the other place had removed.
"""

from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.messages.labels import label


class ConflictChoice(models.TextChoices):
    """How a conflict was closed. An open conflict has the empty text instead.

    LATER_EDIT, RESTORED: by the conversion. KEEP, TAKE: by a person. The values are also those that
    the command `conflicts` takes and prints.
    """

    LATER_EDIT = "rule", "Later edit kept"
    KEEP = "keep", "Kept value confirmed"
    TAKE = "take", "Other value used"
    RESTORED = "back", "Brought back by an edit that had seen the removal"


CHOICES_OF_PEOPLE = [ConflictChoice.KEEP, ConflictChoice.TAKE]
IS_OPEN = Q(closed_at__isnull=True)
# The lost edit says that something is active, which the other place had removed. Values are texts.
IS_OF_REMOVAL = Q(field="is_active", lost_value="true")


class EditConflictQuerySet(models.QuerySet["EditConflict"]):
    def open(self) -> Self:
        """Conflicts that wait for a person, because no rule could close them."""
        return self.filter(IS_OPEN)

    def of_removals(self) -> Self:
        """Edits of something that the other place had removed."""
        return self.filter(IS_OF_REMOVAL)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def with_details(self) -> Self:
        """Select also what a page shows: the customer, both places, and who closed the conflict."""
        return self.select_related(
            "customer", "lost_database__channel", "kept_database__channel", "closed_by"
        )

    def for_customer(self, customer: Any) -> Self:
        """All conflicts of a customer, oldest first."""
        return self.filter(customer=customer).with_details().order_by("pk")


class EditConflict(models.Model):
    """One field of a customer, with the kept and the lost edit of it.

    The conversion inserts the row, which is never deleted.
    """

    id = models.BigAutoField(primary_key=True)
    # A constraint would lock the customer of each new conflict, and customers are never deleted.
    customer = models.ForeignKey(
        "Customer", models.PROTECT, db_constraint=False, related_name="conflicts"
    )
    # The table of the edits, such as async_address, and which of the customer's addresses it is.
    table = models.CharField(max_length=20)
    key = models.CharField(max_length=60, blank=True)
    field = models.CharField(max_length=40)
    lost_value = models.TextField(blank=True)
    kept_value = models.TextField(blank=True)
    lost_event = models.UUIDField()
    kept_event = models.UUIDField()
    # None: the edit was made at headquarters.
    lost_database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    kept_database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    # When the edits were made, by the clocks of their places.
    lost_at = models.DateTimeField()
    kept_at = models.DateTimeField()
    # Whether one of these clocks was more than 15 minutes wrong.
    clock_skewed = models.BooleanField()
    found_at = models.DateTimeField(db_default=Now())
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+"
    )
    choice = models.CharField(max_length=4, choices=ConflictChoice.choices, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    # The event by which headquarters wrote the lost value after all.
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
                | Q(choice__in=ConflictChoice.values, closed_at__isnull=False),
                name="conflict_is_closed_by_a_choice",
            ),
            models.CheckConstraint(
                condition=~Q(choice=ConflictChoice.LATER_EDIT) | Q(clock_skewed=False),
                name="no_rule_settles_a_wrong_clock",
            ),
            models.CheckConstraint(
                condition=~(Q(choice=ConflictChoice.LATER_EDIT) & IS_OF_REMOVAL),
                name="no_rule_undoes_a_removal",
            ),
            models.CheckConstraint(
                condition=~Q(choice__in=CHOICES_OF_PEOPLE)
                | (Q(closed_by__isnull=False) & ~Q(reason="")),
                name="a_person_says_why",
            ),
            models.CheckConstraint(
                condition=Q(choice=ConflictChoice.TAKE, made_event__isnull=False)
                | (Q(made_event__isnull=True) & ~Q(choice=ConflictChoice.TAKE)),
                name="a_taken_value_has_its_event",
            ),
        ]
        indexes = [models.Index(fields=["id"], condition=IS_OPEN, name="edit_conflict_open")]

    def __str__(self) -> str:
        return f"conflict {self.pk}"

    def get_absolute_url(self) -> str:
        return reverse("conflict", args=[self.pk])

    @property
    def state(self) -> str:
        return "open" if self.closed_at is None else "closed"

    @property
    def can_be_decided(self) -> bool:
        """Whether a person may still choose a value: it is open, or the later edit was kept.

        RESTORED is not offered: somebody who had seen the removal has decided by an edit.
        """
        return self.choice in ("", ConflictChoice.LATER_EDIT)

    @property
    def is_settled_by_person(self) -> bool:
        return self.choice in CHOICES_OF_PEOPLE

    @property
    def is_of_removal(self) -> bool:
        """Whether the lost edit is of something that the other place had removed."""
        # Keep equal to IS_OF_REMOVAL, which is the same condition for queries.
        return self.field == "is_active" and self.lost_value == "true"

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
        """What was edited, for people: Customer phone, or Customer VAT number."""
        name = label(self.field)
        is_abbreviation = name[:2].isupper()
        if not is_abbreviation:
            name = name[:1].lower() + name[1:]
        return f"{self.table.removeprefix('async_').capitalize()} {name}"

    def settle(
        self, choice: ConflictChoice, reason: str, *, by: Any, event: UUID | None = None
    ) -> bool:
        """Close the conflict by a person's choice. Returns False if it has been decided already.

        A choice about something removed also closes the other open conflicts about it. `event` is
        the event that has written the lost value, if that was the choice. The caller makes the
        transaction. This instance keeps its old values.
        """
        closed = {
            "choice": choice,
            "reason": reason,
            "closed_at": Now(),
            "closed_by": by,
            "made_event": event,
        }
        decided = list(CHOICES_OF_PEOPLE)
        # Applying the event that brings something removed back also closes the conflict as RESTORED
        # before this is called. Without an event, somebody else has brought it back.
        if event is None:
            decided.append(ConflictChoice.RESTORED)
        undecided = EditConflict.objects.filter(pk=self.pk).exclude(choice__in=decided)
        if not undecided.update(**closed):
            return False
        if self.is_of_removal:
            # Each is about an edit that would have brought the same thing back. It is back or stays
            # removed as a whole, so one choice, with its event, answers for all.
            about_the_same = (
                EditConflict.objects.open()
                .of_removals()
                .filter(customer=self.customer_id, table=self.table, key=self.key)
            )
            about_the_same.update(**closed)
        return True
