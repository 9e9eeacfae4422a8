"""The command `channels` lists each channel database as HQ last saw it.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `command` calls a management command and returns its output.
"""

import json

from stores.models import Channel, ChannelDatabase
from stores.models.job import JobCode
from stores.pipeline.register import add_register
from tests.support.make import make_customer, make_event, out_of_reach, run


def list_channels(command) -> dict[str, dict]:
    """The rows that the command prints, by database."""
    rows = json.loads(command("channels", "--json"))["channels"]
    return {row["database"]: row for row in rows}


def test_each_channel_is_listed_with_its_counts(houston, popup, command):
    make_event("address", houston, async_account=make_customer(houston), county="far too long")
    make_event("address", popup, account_number="009999")
    run(JobCode.UPLOAD)
    run("sync-customers")

    rows = list_channels(command)

    assert rows["houston"]["counts"] == {"waiting": 0, "quarantined": 1, "owed": 1}
    assert rows["popup"]["counts"] == {"waiting": 1, "quarantined": 0, "owed": 1}
    assert rows["popup"]["last_visit"]
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_the_json_of_a_channel_has_the_keys_of_the_contract(popup, command):
    assert list(list_channels(command)["popup"]) == [
        "channel",
        "name",
        "kind",
        "company",
        "database",
        "status",
        "timeliness",
        "error",
        "paused",
        "strict_order",
        "suspended",
        "counts",
        "last_visit",
        "failures",
        "next_try",
        "settings",
    ]


def test_a_register_s_database_is_listed_after_its_channel_s(houston, command):
    add_register(code="houston", register="till-1", database="sqlite:///channels/till.sqlite3")

    rows = list_channels(command)

    assert list(rows) == ["houston", "houston/till-1"]
    assert {row["channel"] for row in rows.values()} == {"houston"}


def test_a_disabled_or_unreachable_channel_is_marked(houston, seattle, popup, command):
    Channel.objects.filter(code="seattle").update(is_enabled=False)
    ChannelDatabase.objects.filter(pk=houston.pk).update(is_enabled=False)
    with out_of_reach(popup):
        run(JobCode.UPLOAD)

    rows = list_channels(command)

    assert {name: row["status"] for name, row in rows.items()} == {
        "houston": "disabled",
        "seattle": "disabled",
        "popup": "unreachable",
    }
    assert rows["popup"]["error"] == (
        "Channel popup cannot be reached: its file is missing or cannot be opened."
    )


def test_listing_does_not_open_any_channel(popup, command):
    with out_of_reach(popup):
        output = command("channels")

    assert output.startswith("popup            store        USRT  Needs you    never visited")


def test_an_empty_list_names_the_command_that_creates_a_channel(hq, command):
    assert command("channels") == "There are no channels yet. Run create_channel to add one.\n"
