"""The command `channels`: each channel database as HQ last knew it."""

import json

from stores.channeldb.connect.url import sqlite_path
from stores.models import Channel, ChannelDatabase
from stores.pipeline.register import add_register
from tests.support.make import make_customer, make_event, run


def listed(command) -> dict[str, dict]:
    found = json.loads(command("channels", "--json"))["channels"]
    return {row["database"]: row for row in found}


def test_each_channel_is_listed_with_what_waits_for_it(houston, popup, command):
    make_event("address", houston, async_account=make_customer(houston), county="far too long")
    make_event("address", popup, account_number="009999")
    run("P-0001")
    run("sync-customers")

    found = listed(command)

    assert found["houston"]["counts"] == {"waiting": 0, "quarantined": 1, "owed": 1}
    assert found["popup"]["counts"] == {"waiting": 1, "quarantined": 0, "owed": 1}
    assert found["popup"]["last_visit"]
    assert {row["status"] for row in found.values()} == {"ok"}
    assert list(found["popup"]) == [
        *["channel", "name", "kind", "company", "database", "status", "error", "counts"],
        *["last_visit", "failures", "next_try"],
    ]


def test_a_register_s_own_database_is_listed_beside_its_channel_s(houston, command):
    add_register(code="houston", register="till-1", database="sqlite:///channels/till.sqlite3")

    found = listed(command)

    assert list(found) == ["houston", "houston/till-1"]
    assert {row["channel"] for row in found.values()} == {"houston"}


def test_a_channel_that_is_switched_off_or_silent_says_so(houston, seattle, popup, command):
    Channel.objects.filter(code="seattle").update(is_enabled=False)
    ChannelDatabase.objects.filter(pk=houston.pk).update(is_enabled=False)
    path = sqlite_path(popup)
    path.rename(path.with_suffix(".away"))
    run("P-0001")
    path.with_suffix(".away").rename(path)

    found = listed(command)

    assert {name: row["status"] for name, row in found.items()} == {
        "houston": "disabled",
        "seattle": "disabled",
        "popup": "unreachable",
    }
    assert found["popup"]["error"] == "Channel popup cannot be reached."


def test_no_channel_is_opened_for_the_list(popup, command):
    path = sqlite_path(popup)
    path.rename(path.with_suffix(".away"))

    line = command("channels")
    path.with_suffix(".away").rename(path)

    assert line.split()[:6] == ["popup", "store", "USRT", "ok", "never", "visited"]


def test_without_channels_the_list_says_how_to_make_one(hq, command):
    assert command("channels") == "There is no channel yet: make one with create_channel.\n"
