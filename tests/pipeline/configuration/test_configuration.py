"""1070 and 1110: each channel database holds the settings that administrators have set up.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `back_up` backs up a channel's database; `command` calls a management command and
returns its output.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from stores.channeldb.connect.url import sqlite_path
from stores.jobs.catalog import find_job
from stores.models import (
    Affiliation,
    AttributeDefinition,
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Customer,
    CustomerAffiliation,
    CustomerGroup,
    DistributedSettings,
    FeatureSet,
    FunctionalityProfile,
    RunStep,
    SchedulerJob,
)
from stores.models.customer import ReceiptPreference
from stores.models.job import CONFIGURATION_JOBS, JobCode
from stores.models.profile import OrderMode
from stores.pipeline.configuration.distributed import setting_states
from stores.pipeline.register import add_register
from tests.support.make import make_customer, out_of_reach, query, run

CHANNEL, GLOBAL = CONFIGURATION_JOBS
CHANNEL_KEYS = ["profile", "default_customer", "affiliations", "filter_shared_customer_data"]
GLOBAL_KEYS = ["features", "attributes", "parameters", "max_lengths"]


@pytest.fixture
def till_1(houston) -> Iterator[ChannelDatabase]:
    """The database of an offline register of houston, in a group of its own."""
    database = add_register(
        code="houston",
        register="till-1",
        database="sqlite:///channels/offline.sqlite3",
        group="Registers",
    )
    yield database
    path = sqlite_path(database)
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def settings_in(database: ChannelDatabase) -> dict[str, Any]:
    """The settings that a till reads in the channel's database."""
    rows = query(database, "SELECT key, CAST(value AS text) FROM channel_setting")
    return {key: json.loads(value) for key, value in rows}


def pending_keys(database: ChannelDatabase) -> list[str]:
    """The keys of the settings that the database does not hold yet, as far as HQ knows."""
    return [state.key for state in setting_states([database])[database.pk] if state.is_pending]


def set_profile(database: ChannelDatabase, code: str = "outlet", **values: Any) -> None:
    profile, _ = FunctionalityProfile.objects.update_or_create(code=code, defaults=values)
    Channel.objects.filter(pk=database.channel_id).update(profile=profile)


def test_1070_sends_the_profile_of_the_channel(store):
    set_profile(store, create_customer_async=False, customer_order_mode=OrderMode.SYNC_FIRST)

    document = run(CHANNEL)

    assert settings_in(store)["profile"] == {
        "code": "outlet",
        "create_customer_async": False,
        "customer_order_mode": "sync_first",
    }
    assert document["outcome"] == "succeeded"
    assert document["counts"]["distributed"] == len(CHANNEL_KEYS)


def test_a_channel_without_a_profile_does_everything_asynchronously(store):
    run(CHANNEL)

    assert settings_in(store)["profile"] == {
        "code": None,
        "create_customer_async": True,
        "customer_order_mode": "async",
    }


def test_1070_sends_what_new_customers_inherit(store):
    template = store.channel.default_customer
    Customer.objects.filter(pk=template.pk).update(language="en-us", customer_group="30")
    CustomerAffiliation.objects.create(customer=template, affiliation="STAFF")
    CustomerAffiliation.objects.create(customer=template, affiliation="GONE", is_active=False)
    Channel.objects.update(country="USA")

    run(CHANNEL)

    inherited = settings_in(store)["default_customer"]
    assert inherited["account_number"] == template.account_number
    assert (inherited["language"], inherited["customer_group"]) == ("en-us", "30")
    assert (inherited["affiliations"], inherited["country"]) == (["STAFF"], "USA")


def test_1070_sends_the_dimensions_of_the_default_customer_s_group(popup):
    template = popup.channel.default_customer
    Customer.objects.filter(pk=template.pk).update(
        customer_group="30", receipt_preference=ReceiptPreference.EMAIL
    )
    CustomerGroup.objects.create(
        company=popup.channel.company, code="30", financial_dimensions="001-022"
    )

    run(CHANNEL)

    inherited = settings_in(popup)["default_customer"]
    assert inherited["receipt_preference"] == "email"
    assert inherited["financial_dimensions"] == "001-022"


def test_1070_sends_the_affiliations_that_tills_may_offer(popup):
    company = popup.channel.company
    Affiliation.objects.create(company=company, name="STAFF", description="Our own people")
    Affiliation.objects.create(company=company, name="PRESS", is_hidden=True)

    run(CHANNEL)

    assert settings_in(popup)["affiliations"] == [
        {"name": "STAFF", "description": "Our own people"}
    ]


def test_1110_sends_features_attributes_and_limits(store):
    company = store.channel.company
    FeatureSet.objects.create(async_edit=False)
    AttributeDefinition.objects.create(
        company=company, name="AGE", data_type="integer", smallest="18", largest="130"
    )

    run(GLOBAL)

    held = settings_in(store)
    assert held["features"] == {
        "performance_improvements": True,
        "async_addresses": True,
        "enhanced_creation": True,
        "async_edit": False,
        "multiple_contacts": True,
    }
    assert held["attributes"] == [
        {"name": "AGE", "data_type": "integer", "options": [], "smallest": "18", "largest": "130"}
    ]
    assert held["max_lengths"]["async_customer"]["last_name"] == 60


def test_the_features_of_a_company_replace_those_of_all(store):
    FeatureSet.objects.create(multiple_contacts=False)
    FeatureSet.objects.create(company=store.channel.company, async_edit=False)

    run(GLOBAL)

    features = settings_in(store)["features"]
    assert (features["multiple_contacts"], features["async_edit"]) == (True, False)


@pytest.mark.parametrize("job", CONFIGURATION_JOBS)
def test_a_second_run_has_nothing_to_do_and_writes_nothing(store, job):
    run(job)
    before = query(store, "SELECT epoch, nonce FROM exchange_state"), settings_in(store)
    noted = list(DistributedSettings.objects.values())

    document = run(job)

    assert document["outcome"] == "nothing_to_do"
    after = query(store, "SELECT epoch, nonce FROM exchange_state"), settings_in(store)
    assert (after, list(DistributedSettings.objects.values())) == (before, noted)


def test_only_a_setting_that_has_changed_is_written(store):
    run(CHANNEL)
    set_profile(store)

    document = run(CHANNEL)

    assert document["counts"] == {"distributed": 1, "unchanged": len(CHANNEL_KEYS) - 1}


def test_other_settings_of_the_channel_stay(store):
    before = settings_in(store)

    run(CHANNEL)
    run(GLOBAL)

    held = settings_in(store)
    assert before["company"] == "USRT"
    assert {key: held[key] for key in before} == before


@pytest.mark.parametrize("value", ["'1'", "'[1]'", "'null'"])
def test_what_someone_wrote_over_a_setting_is_written_again(store, value):
    run(CHANNEL)
    query(store, f"UPDATE channel_setting SET value = {value} WHERE key = 'profile'")  # noqa: S608

    document = run(CHANNEL)

    assert document["counts"]["distributed"] == 1
    assert settings_in(store)["profile"]["create_customer_async"] is True


@pytest.mark.parametrize("value", ["'nonsense'", "x'ff00'", "NULL"])
def test_a_setting_that_is_no_json_is_written_again(popup, value):
    run(CHANNEL)
    query(popup, f"UPDATE channel_setting SET value = {value} WHERE key = 'profile'")  # noqa: S608

    assert run(CHANNEL)["counts"]["distributed"] == 1
    assert settings_in(popup)["profile"]["create_customer_async"] is True


def test_a_dry_run_counts_and_writes_nothing(store):
    before = settings_in(store)

    document = run(CHANNEL, dry_run=True)

    assert document["outcome"] == "succeeded"
    assert document["counts"] == {"distributed": len(CHANNEL_KEYS)}
    assert settings_in(store) == before
    assert not DistributedSettings.objects.exists()


def test_settings_are_pending_until_a_job_has_sent_them(store):
    before = pending_keys(store)
    run(CHANNEL)
    between = pending_keys(store)
    run(GLOBAL)

    assert before == [*CHANNEL_KEYS, *GLOBAL_KEYS]
    assert between == GLOBAL_KEYS
    assert pending_keys(store) == []


def test_a_change_is_pending_beside_the_value_that_the_channel_has(houston):
    set_profile(houston, create_customer_async=True)
    run(CHANNEL)
    set_profile(houston, create_customer_async=False)

    states = {state.key: state for state in setting_states([houston])[houston.pk]}

    state = states["profile"]
    assert state.is_pending
    assert state.effective["create_customer_async"] is False
    assert state.distributed["create_customer_async"] is True


def test_a_restored_channel_is_sent_its_settings_again(store, back_up):
    run(CHANNEL)
    backup = back_up(store)
    set_profile(store)
    run(CHANNEL)
    make_customer(store)
    run(JobCode.UPLOAD)

    backup.restore()
    run(JobCode.UPLOAD)
    between = pending_keys(store)
    run(CHANNEL)

    assert "profile" in between
    assert settings_in(store)["profile"]["code"] == "outlet"
    assert "profile" not in pending_keys(store)


def test_a_note_that_is_lost_is_made_again_without_a_write(store):
    run(CHANNEL)
    DistributedSettings.objects.all().delete()

    document = run(CHANNEL)

    assert document["outcome"] == "nothing_to_do"
    assert "profile" not in pending_keys(store)


def test_a_channel_that_is_away_does_not_stop_the_others(houston, popup):
    with out_of_reach(popup):
        document = run(CHANNEL)

    assert document["outcome"] == "partly"
    assert "profile" in settings_in(houston)
    assert "profile" in pending_keys(popup)


def test_a_job_can_be_limited_to_a_channel(houston, popup):
    run(CHANNEL, channels=["popup"])

    assert "profile" in settings_in(popup)
    assert "profile" not in settings_in(houston)


def test_registers_are_left_out_of_an_excluded_job(houston, till_1):
    SchedulerJob.objects.create(job=CHANNEL, exclude_from_offline=True)

    run(CHANNEL)
    run(GLOBAL)

    assert "profile" in settings_in(houston)
    assert settings_in(till_1).keys() == {"company", *GLOBAL_KEYS}
    assert pending_keys(till_1) == []
    excluded = [state.key for state in setting_states([till_1])[till_1.pk] if state.is_excluded]
    assert excluded == CHANNEL_KEYS


def test_1010_leaves_out_the_register_from_which_it_is_excluded(houston, till_1):
    SchedulerJob.objects.create(job=JobCode.DOWNLOAD, exclude_from_offline=True)
    make_customer(houston)

    run(JobCode.PIPELINE)

    steps = RunStep.objects.filter(database=till_1).values_list("step", flat=True)
    assert list(steps) == ["upload"]
    assert query(till_1, "SELECT * FROM customer") == []
    assert query(houston, "SELECT account_number FROM customer") == [("005001",)]


def test_the_filter_of_a_group_reaches_the_databases_in_it(houston, till_1):
    ChannelDatabaseGroup.objects.filter(name="Registers").update(filter_shared_customer_data=True)

    run(CHANNEL)

    assert settings_in(till_1)["filter_shared_customer_data"] is True
    assert settings_in(houston)["filter_shared_customer_data"] is False


def test_effective_settings_take_as_many_queries_for_two_channels_as_for_one(
    houston, popup, django_assert_num_queries
):
    with CaptureQueriesContext(connection) as one:
        setting_states([houston])

    with django_assert_num_queries(len(one)):
        setting_states([houston, popup])


@pytest.mark.parametrize("name", ["1070", "channel-configuration", "Channel configuration"])
def test_1070_is_found_by_its_names(name):
    job = find_job(name)

    assert job is not None
    assert job.code == CHANNEL


def test_the_command_lists_the_settings_of_each_database(popup, command):
    run(CHANNEL)
    set_profile(popup)

    [row] = json.loads(command("channels", "--json"))["channels"]

    settings = {setting["key"]: setting for setting in row["settings"]}
    assert settings["profile"]["pending"] is True
    assert settings["profile"]["effective"]["code"] == "outlet"
    assert settings["profile"]["distributed"]["code"] is None
    assert settings["default_customer"]["pending"] is False
    assert settings["features"]["distributed"] is None
    assert "Settings pending: run 1070 and 1110." in command("channels")
