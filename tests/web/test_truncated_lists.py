"""Where a page shows only some rows, it says how many more there are and links to them.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page.
"""

import re
from datetime import timedelta
from itertools import product

import pytest
from django.utils import timezone

from stores.jobs.liveness import liveness_problems
from stores.messages.message import Message
from stores.models import ChannelDatabase, Incident, Quarantine, UploadSession
from stores.models.job import JobCode
from stores.web.views import statements
from tests.support.make import make_customer, make_sale, make_schedule, run
from tests.support.pages import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="U3")]


def quarantine_customer(database: ChannelDatabase, reason: str, field: str) -> None:
    Quarantine.objects.create(
        database=database,
        session=UploadSession.objects.get(),
        table="async_customer",
        row_key=f"{reason} {field}",
        payload_hash=b"1",
        reason=reason,
        field=field,
        raw=b"{}",
    )


def test_the_causes_of_quarantine_beyond_twenty_are_counted_and_linked(reader, houston):
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    reasons = ("too_long", "unknown_word", "value_missing", "date_format")
    fields = ("first_name", "last_name", "language", "title", "email", "phone")
    for reason, field in list(product(reasons, fields))[:22]:
        quarantine_customer(houston, reason, field)

    page = reader.get("/quarantine/")
    page_of_all = reader.get("/quarantine/?causes=all")

    assert len(page.context["causes"]) == 20
    assert "Show 2 more causes" in page.content.decode()
    assert len(page_of_all.context["causes"]) == 22
    assert "more cause" not in page_of_all.content.decode()


def test_the_incidents_beyond_ten_are_counted(reader, houston):
    for number in range(12):
        Incident.objects.report(
            "message_refused", Message("quoted", text="A message."), subject=str(number)
        )

    texts = [alert.text for alert in reader.get("/").context["alerts"]]

    assert texts.count("A message.") == 10
    assert "2 older incidents open." in texts


def test_the_statements_beyond_the_limit_are_counted_and_linked(reader, houston, monkeypatch):
    monkeypatch.setattr(statements, "MAX_STATEMENTS_SHOWN", 1)
    today = timezone.now().date()
    # Three posted statements and three that are calculated only.
    for jobs in (["eod"], [JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE]):
        for days in (1, 2, 3):
            make_sale(houston, business_date=today - timedelta(days=days))
        for job in jobs:
            run(job)

    page = reader.get("/end-of-day/").content.decode()

    links = re.findall(r'href="(/statements/[^"]+)">Show 2 more<', page)
    assert len(links) == 2
    for link in links:
        assert len(rows_of(reader.get(link.replace("&amp;", "&")))) == 3


def test_the_overdue_schedules_beyond_ten_are_counted(houston):
    yesterday = timezone.now() - timedelta(days=1)
    for minutes in range(1, 14):
        make_schedule("eod", every_minutes=minutes, now=yesterday)

    problems = [each for each in liveness_problems() if each.code == "schedule_missed"]

    assert len(problems) == 11
    assert str(problems[-1].text) == "3 more schedules overdue."
