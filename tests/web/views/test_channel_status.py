"""Pages say how channels are served, and why not to those who can do something about it.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `user_of` creates a user in a group and returns a client in which that user is signed in.
"""

from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from stores.messages.message import Message
from stores.models import ChannelDatabase, JobRun, SchedulerJob
from stores.models.job import JobCode
from stores.pipeline.pauses import pause
from tests.support.make import lookup, make_customer, make_schedule, out_of_reach, run
from tests.support.pages import links_of, text_of

SENTENCE = "Channel popup cannot be reached: its server refuses HQ"


@pytest.fixture
def served(houston, popup) -> None:
    """A pipeline every half hour; popup's server refuses HQ's password since a while."""
    make_schedule("pipeline", every_minutes=30)
    run("pipeline")
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        last_error=Message("channel_password_refused", channel="popup"),
        failures=4,
        failing_since=timezone.now() - timedelta(minutes=50),
        last_visited_at=timezone.now() - timedelta(minutes=50),
    )


@pytest.mark.parametrize("url", ["/", "/channels/", "/channels/popup/"])
def test_an_error_and_its_cause_are_for_those_who_can_do_something(served, user_of, url):
    operator, viewer = (text_of(user_of(role).get(url)) for role in ("operator", "viewer"))

    for page in (operator, viewer):
        assert "Needs you" in page
        assert "Not visited for 50 min." in page
    assert SENTENCE in operator
    assert SENTENCE not in viewer
    assert "Operators and administrators see why." in viewer
    assert "<strong>User or password refused.</strong>" in operator


def test_of_an_error_that_stays_users_are_told_who_mends_it(served, user_of):
    alerts = {role: user_of(role).get("/").context["alerts"] for role in ("operator", "viewer")}

    steps = {
        role: next(alert.next_step for alert in shown if alert.icon == "cloud-slash")
        for role, shown in alerts.items()
    }
    assert steps == {
        "operator": (
            "Nothing is lost, but only a person can mend it. Once that is done, the next run goes"
            " on."
        ),
        "viewer": "Nothing is lost. Tell someone who runs jobs or sets up channels.",
    }


RUNS = ["/", "/runs/", "/schedules/", "{run}"]


def test_a_run_names_the_cause_to_those_who_can_do_something(served, popup, user_of, subtests):
    with out_of_reach(popup):
        document = run("P-0001", channels=["popup"])
    run_url = JobRun.objects.newest_first()[0].get_absolute_url()
    cause = str(ChannelDatabase.objects.get(pk=popup.pk).last_error)
    clients = {role: user_of(role) for role in ("operator", "viewer")}

    for url in RUNS:
        with subtests.test(url):
            operator, viewer = (
                contents(client.get(url.format(run=run_url))) for client in clients.values()
            )
            assert cause not in viewer
            if url in ("/runs/", "{run}"):
                assert cause in operator
                assert "The visit failed. Operators and administrators see why." in viewer
    exported = contents(user_of("auditor").get("/runs/?_export=csv"))
    assert "The visit failed. Operators and administrators see why." in exported
    assert cause not in exported
    # Commands are for those who run jobs.
    assert cause in str(document)


def contents(response) -> str:
    """The text of a page or of a CSV file, with the characters that HTML writes in another way."""
    body = response.getvalue() if response.streaming else response.content
    return unescape(body.decode())


def test_the_list_shows_the_channels_of_a_status(served, user_of):
    client = user_of("auditor")

    late = client.get("/channels/?status=needs_you").context["table"]
    on_time = client.get("/channels/?status=on_time&_export=csv").getvalue().decode()
    counts = client.get("/").context["status_counts"]

    assert [row.record.label for row in late.page.object_list] == ["popup"]
    assert '"houston"' in on_time
    assert '"On time"' in on_time
    assert "popup" not in on_time
    assert counts == [
        ("On time", 1, "/channels/?status=on_time"),
        ("Needs you", 1, "/channels/?status=needs_you"),
    ]


def add_registers(channel, count):
    ChannelDatabase.objects.bulk_create(
        ChannelDatabase(
            channel=channel.channel, group=channel.group, name=f"till-{n}", url=f"embedded:till_{n}"
        )
        for n in range(count)
    )


def test_of_many_channels_the_overview_shows_those_that_need_attention_most(
    served, houston, user_of
):
    add_registers(houston, 19)
    ChannelDatabase.objects.filter(channel=houston.channel).update(last_visited_at=timezone.now())

    page = user_of("viewer").get("/")

    shown = [row.label for row in page.context["databases"]]
    assert shown[:2] == ["popup", "houston"]
    assert len(shown) == 20
    assert "The 20 that need attention most." in text_of(page)
    assert links_of(page)["All 21"] == "/channels/"


def test_late_channels_need_attention_and_only_some_are_named(houston, user_of):
    make_schedule("pipeline", every_minutes=5)
    add_registers(houston, 12)
    ChannelDatabase.objects.update(last_visited_at=timezone.now() - timedelta(minutes=21))

    alerts = user_of("viewer").get("/").context["alerts"]

    texts = [alert.text for alert in alerts if "Not visited" in alert.text]
    assert texts[0] == "houston: Not visited for 21 min."
    assert len(texts) == 10
    assert "3 more channel databases late or in need of someone." in [a.text for a in alerts]


def test_a_customer_is_pushed_to_a_channel_from_its_page(houston, popup, user_of):
    make_customer(houston, "Ann")
    for job in (JobCode.UPLOAD, JobCode.CONVERT):
        run(job)
    operator, viewer = user_of("operator"), user_of("viewer")
    pages = [text_of(operator.get(url)) for url in ("/customers/005001/", "/trace/USRT:005001/")]

    response = operator.post("/customers/005001/push/", {"database": popup.pk})
    refused = viewer.post("/customers/005001/push/", {"database": popup.pk})

    for page in pages:
        assert "<strong>Not packaged.</strong> No package for popup contains its latest" in page
        assert "Push this customer now" in page
    assert "Push this customer now" not in text_of(viewer.get("/customers/005001/"))
    started = JobRun.objects.newest_first()[0]
    assert response.url == started.get_absolute_url()
    assert (started.job, started.channels) == (JobCode.DOWNLOAD, ["popup"])
    assert (started.started_by, started.requested_by.username) == ("page", "operator")
    assert refused.status_code == 403
    run(JobCode.DOWNLOAD, channels=["popup"])
    assert lookup(popup) == [("005001", "Ann")]


def test_a_customer_is_not_pushed_where_downloads_are_paused(houston, popup, user_of):
    make_customer(houston, "Ann")
    run("pipeline", channels=["houston"])
    pause(popup, "download", "Stocktaking.")

    operator = user_of("operator")
    page = text_of(operator.post("/customers/005001/push/", {"database": popup.pk}, follow=True))

    assert "Downloads to popup are paused: Stocktaking." in page
    assert not JobRun.objects.filter(job=JobCode.DOWNLOAD).exists()


def test_a_customer_is_not_pushed_to_a_register_that_is_sent_none(houston, user_of):
    make_customer(houston, "Ann")
    run("pipeline")
    add_registers(houston, 1)
    SchedulerJob.objects.update_or_create(job="1010", defaults={"exclude_from_offline": True})
    register = ChannelDatabase.objects.get(name="till-0")

    operator = user_of("operator")
    page = text_of(operator.post("/customers/005001/push/", {"database": register.pk}, follow=True))

    assert "houston/till-0 is excluded from 1010: it is sent no customers." in page
    assert not JobRun.objects.filter(job=JobCode.DOWNLOAD).exists()
