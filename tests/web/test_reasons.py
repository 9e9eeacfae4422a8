"""Each action that asks for a reason refuses one that nobody can read, and stores it trimmed.

From conftest.py: `houston` is a store on PostgreSQL; `boss` is a client of an administrator.
"""

from dataclasses import dataclass, field

import pytest
from django.test import Client

from stores.messages.message import Message
from stores.models import (
    Incident,
    Quarantine,
    RetailTransaction,
    Statement,
    StatementEvent,
    TransactionChange,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run

# Zero width space, Hangul filler, word joiner, no-break space.
INVISIBLE = "\u200b \u3164\u2060\xa0"
CAUSE = "gross_differs:gross_amount:header"


@dataclass(frozen=True)
class Action:
    """A form with a reason: its URL, the name of the field, and the other fields."""

    url: str
    reason_field: str
    data: dict[str, object] = field(default_factory=dict)

    def submit(self, client: Client, reason: str) -> str:
        """Submit the form with this reason. Returns the page that follows."""
        response = client.post(self.url, self.data | {self.reason_field: reason}, follow=True)
        return response.content.decode()


@pytest.fixture
def actions(houston) -> list[Action]:
    """Every action that asks for a reason, each on a row that it could settle."""
    make_customer(houston, "Ann", email="nobody")
    make_sale(houston, transaction_id="T-1", gross_amount="99.00")
    make_sale(houston, transaction_id="T-2")
    run(JobCode.UPLOAD)
    run("validate")
    run("calculate-statements")
    Incident.objects.report(
        IncidentKind.MANY_QUARANTINED, Message("quoted", text="Many rows."), database=houston
    )
    incident, statement = Incident.objects.get(), Statement.objects.get()
    row, sale = Quarantine.objects.get(), RetailTransaction.objects.get(transaction_id="T-1")
    return [
        Action(f"/incidents/{incident.pk}/close/", "reason"),
        Action("/quarantine/dismiss/", "reason", {"case": row.pk, "sure": "yes"}),
        Action(f"/statements/{statement.pk}/cancel/", "reason"),
        Action(f"/transactions/{sale.pk}/correct/", "why", {"header-gross_amount": "10.70"}),
        Action(
            f"/transactions/failed/alike/?cause={CAUSE}", "why", {"to-gross_amount": "expected"}
        ),
    ]


def assert_nothing_happened() -> None:
    assert Incident.objects.open().count() == 1
    assert Quarantine.objects.open().count() == 1
    assert Statement.objects.get().state == "calculated"
    assert not TransactionChange.objects.exists()


def test_an_invisible_reason_is_refused_by_every_action(boss, actions):
    for action in actions:
        page = action.submit(boss, INVISIBLE)

        is_dismissal = action.url == "/quarantine/dismiss/"
        message = "Enter a reason for dismissing." if is_dismissal else "Enter a reason."
        assert message in page, action.url
    assert_nothing_happened()


def test_a_long_reason_is_refused_by_every_action(boss, actions):
    for action in actions:
        page = action.submit(boss, "A" * 301)

        assert "A reason has at most 300 characters." in page, action.url
    assert_nothing_happened()


def test_a_reason_is_stored_without_invisible_letters_at_its_ends(boss, actions):
    for action in actions:
        action.submit(boss, f"{INVISIBLE}All  seen.{INVISIBLE}")

    assert Incident.objects.get().closing_reason == "All  seen."
    assert Quarantine.objects.get().settled_because == "All  seen."
    texts = StatementEvent.objects.values_list("text", flat=True)
    assert any(str(text).endswith("released: All  seen.") for text in texts)
