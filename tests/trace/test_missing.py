"""Why a channel does not have a customer: the missing step, and the command that helps.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `register` registers a channel by its code; `command` calls a management command and
returns its output.
"""

import json
from datetime import UTC, datetime

import pytest
from django.core.management.base import CommandError

from stores.messages.message import Message
from stores.models import (
    Channel,
    ChannelDatabase,
    Customer,
    DownloadSession,
    Incident,
    SchedulerJob,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.models.session import DownloadStatus
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.download.sessions import pause_downloads
from tests.support.make import make_customer, out_of_reach, run
from tests.support.refused_customers import refuse_customer

PUSH = "downloads push popup 005001"


@pytest.fixture
def why(command):
    """Asks why a channel does not have a customer. Returns what is missing in its one database."""

    def ask(ref: object, channel: str, *options: str) -> dict | None:
        document = json.loads(command("trace", str(ref), "--why", channel, *options, "--json"))
        [answer] = document["why"]
        assert answer["channel"] == channel
        return answer["missing"]

    return ask


@pytest.fixture
def ann(houston, popup) -> str:
    """Ann has an account, and only houston has her. Her GUID."""
    guid = make_customer(houston, "Ann")
    for job in (JobCode.UPLOAD, JobCode.CONVERT):
        run(job)
    run(JobCode.DOWNLOAD, channels=["houston"])
    return str(guid)


def code_of(missing: dict | None) -> tuple[str, str]:
    assert missing is not None
    return missing["code"], missing["command"]


def test_each_step_until_a_channel_has_a_customer_is_named(houston, popup, why):
    guid = make_customer(houston, "Ann")
    in_channel = code_of(why(guid, "popup", "--look-in-channels"))
    run(JobCode.UPLOAD)
    uploaded = code_of(why(guid, "popup"))
    run(JobCode.CONVERT)
    converted = code_of(why(guid, "popup"))
    run(JobCode.DOWNLOAD)

    assert in_channel == ("not_uploaded", "run_job P-0001")
    assert uploaded == ("not_converted", "run_job sync-customers")
    assert converted == ("not_packaged", PUSH)
    assert why(guid, "popup") is None


def test_a_customer_with_an_error_waits_for_its_correction(houston, popup, why):
    guid = make_customer(houston, "Ann", email="nobody")
    run("pipeline")

    missing = why(guid, "popup")

    assert missing["code"] == "failed"
    assert missing["text"] == "email: not an e-mail address."
    assert "Correct it here" in missing["next_step"]


def test_a_package_that_failed_and_one_that_waits_are_told_apart(ann, popup, why):
    with out_of_reach(popup):
        run(JobCode.DOWNLOAD)
    ChannelDatabase.objects.filter(pk=popup.pk).update(last_error=Message())
    failed = why(ann, "popup")
    DownloadSession.objects.unfinished().update(status=DownloadStatus.AVAILABLE, message=Message())

    waits = why(ann, "popup")

    assert code_of(failed) == ("package_failed", PUSH)
    assert "its file is missing" in failed["text"]
    assert code_of(waits) == ("package_waits", PUSH)
    assert waits["target"] == str(DownloadSession.objects.unfinished().get().pk)


def test_a_channel_that_cannot_be_reached_is_away_since_its_last_visit(ann, popup, why):
    with out_of_reach(popup):
        run(JobCode.DOWNLOAD)
        ChannelDatabase.objects.filter(pk=popup.pk).update(
            last_visited_at=datetime(2026, 3, 6, 12, tzinfo=UTC)
        )

    missing = why(ann, "popup")

    assert code_of(missing) == ("away", PUSH)
    assert missing["text"].startswith("Channel popup cannot be reached: its file is missing")
    assert missing["text"].endswith("No visit has succeeded since 2026-03-06 12:00 UTC.")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"is_enabled": False}, "switched_off"),
        (
            {"is_enabled": False, "archived_at": "2026-03-06T12:00Z", "archive_reason": "Closed."},
            "archived",
        ),
    ],
)
def test_a_channel_that_is_not_visited_says_so(ann, why, settings, code):
    Channel.objects.filter(code="popup").update(**settings)

    assert why(ann, "popup")["code"] == code


def test_a_pause_an_incident_and_a_refusal_are_named_with_what_helps(ann, popup, why):
    pause_downloads(popup, "Stocktaking")
    paused = why(ann, "popup")
    ChannelDatabase.objects.update(downloads_paused_at=None, downloads_pause_reason="")
    incident = Incident.objects.report(
        IncidentKind.WRONG_DATABASE, Message("wrong_database"), database=popup
    )
    blocked = why(ann, "popup")
    incident.close("It was the right one.")
    refuse_customer(popup, "Ann")
    run(JobCode.DOWNLOAD)

    refused = why(ann, "popup")

    assert code_of(paused) == ("paused", "channels resume popup --direction download")
    assert paused["text"] == "Downloads to popup are paused: Stocktaking."
    assert (blocked["code"], blocked["target"]) == ("blocked", str(incident.pk))
    assert code_of(refused) == ("refused", PUSH)


def test_what_a_channel_will_never_have_is_named(houston, register, why):
    register("popup", company="EURT")
    default = houston.channel.default_customer
    guid = make_customer(houston, "Ann")
    run("pipeline", channels=["houston"])
    elsewhere = why(guid, "popup")
    unsent = why(default.account_number, "houston")
    Customer.objects.filter(first_name="Ann").update(is_active=False)
    run("pipeline")

    inactive = why(guid, "houston")

    assert elsewhere["code"] == "other_company"
    assert elsewhere["text"] == "popup belongs to EURT, and the account to USRT."
    assert unsent["code"] == "not_sent"
    assert inactive["code"] == "not_active"


def test_a_register_that_1010_leaves_out_says_so(ann, houston, command):
    ChannelDatabase.objects.create(
        channel=houston.channel, group=houston.group, name="till-1", url="embedded:till_1"
    )
    SchedulerJob.objects.create(job=JobCode.DOWNLOAD, exclude_from_offline=True)

    answers = json.loads(command("trace", ann, "--why", "houston", "--json"))["why"]

    assert [(row["database"], row["knows_account"]) for row in answers] == [
        *(("houston", True), ("houston/till-1", False)),
    ]
    assert [row["missing"] and row["missing"]["code"] for row in answers] == [None, "excluded"]


def test_a_channel_that_lost_a_customer_is_sent_it_again(ann, houston, popup, why):
    run(JobCode.DOWNLOAD)
    add_exceptions(
        popup,
        Customer.objects.filter(first_name="Ann").values_list("pk", flat=True),
        ExceptionReason.NOT_ARRIVED,
    )

    assert code_of(why(ann, "popup")) == ("lost", PUSH)


def test_the_command_says_it_in_sentences(ann, command):
    output = command("trace", ann, "--why", "popup")
    known = command("trace", ann, "--why", "houston")

    assert output == (
        "popup: Not packaged. No package for popup contains its latest change yet. Run 1010, or"
        " wait for its schedule.\n"
        f"  python3 manage.py {PUSH}\n"
    )
    assert known.startswith("houston has the customer since ")


def test_an_unknown_channel_is_refused(ann, command):
    with pytest.raises(CommandError, match="There is no channel 'nowhere'"):
        command("trace", ann, "--why", "nowhere")
