"""Why a person does something: whoever is told so later can read it."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from stores.models import (
    Incident,
    Quarantine,
    RetailTransaction,
    Statement,
    StatementEvent,
    TransactionChange,
)
from stores.models.incident import IncidentKind
from tests.support.make import make_customer, make_sale, run

# Zero width space, Hangul filler, word joiner, no-break space.
UNSEEN = "\u200b \u3164\u2060\xa0"
CAUSE = "gross_differs:gross_amount:header"


@pytest.fixture
def boss(hq):
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    return client


@pytest.fixture
def acts(houston):
    """Everything that asks for a reason: where it is sent, with what, and by which name."""
    make_customer(houston, "Ann", email="nobody")
    make_sale(houston, transaction_id="T-1", gross_amount="99.00")
    make_sale(houston, transaction_id="T-2")
    run("P-0001")
    run("validate")
    run("calculate-statements")
    Incident.objects.report(IncidentKind.MANY_QUARANTINED, "Many rows.", database=houston)
    sale = RetailTransaction.objects.get(transaction_id="T-1")
    return {
        f"/incidents/{Incident.objects.get().pk}/close/": ({}, "reason"),
        "/quarantine/dismiss/": ({"case": Quarantine.objects.get().pk, "sure": "yes"}, "reason"),
        f"/statements/{Statement.objects.get().pk}/cancel/": ({}, "reason"),
        f"/transactions/{sale.pk}/correct/": ({"header-gross_amount": "10.70"}, "why"),
        f"/transactions/failed/alike/?cause={CAUSE}": ({"to-gross_amount": "expected"}, "why"),
    }


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [(UNSEEN, "Enter a reason."), ("A" * 301, "A reason has at most 300 characters.")],
    ids=["unseen", "long"],
)
def test_a_reason_that_nobody_can_read_is_refused_everywhere(boss, acts, reason, sentence):
    for address, (form, name) in acts.items():
        page = boss.post(address, form | {name: reason}, follow=True).content.decode()

        expected = sentence
        if "dismiss" in address and reason == UNSEEN:
            expected = "Enter a reason for dismissing."
        assert expected in page, address
    assert Incident.objects.open().count() == 1
    assert Quarantine.objects.open().count() == 1
    assert Statement.objects.get().state == "calculated"
    assert not TransactionChange.objects.exists()


def test_a_reason_is_kept_without_what_nobody_sees_at_its_ends(boss, acts):
    for address, (form, name) in acts.items():
        boss.post(address, form | {name: f"{UNSEEN}All  seen.{UNSEEN}"}, follow=True)

    assert Incident.objects.get().closing_reason == "All  seen."
    assert Quarantine.objects.get().settled_because == "All  seen."
    assert StatementEvent.objects.filter(text__endswith="released: All  seen.").exists()
