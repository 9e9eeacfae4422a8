"""The command `generate_traffic`: its output, its arguments and its exit status.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite.
"""

import json
import re
import sys
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from stores.channeldb.provision import create_database, migrate_database
from stores.models import ChannelDatabase, Quarantine
from stores.models.job import JobCode
from stores.traffic import FakerMissing, people, write_traffic
from tests.support.event_rows import count_events
from tests.support.make import query, run


def generate_traffic(*arguments: str) -> str:
    """Call the command. Returns what it prints."""
    output = StringIO()
    call_command("generate_traffic", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_prints_what_it_wrote_and_its_seed(store):
    output = generate_traffic(store.channel.code, "--customers", "3", "--seed", "7")

    events = count_events(store).total()
    assert output.startswith(f"{store.label}: {events} events written (3 customer, ")
    assert output.endswith("Seed 7.\n")
    assert output.count("\n") == 1


def test_the_command_prints_how_many_sales_are_faulty(houston):
    output = generate_traffic("houston", "--sales", "6", "--faulty", "1")

    expected = ", 6 sales and orders faulty (2 to quarantine, 4 to break a rule). Seed "
    assert expected in output


def test_the_command_counts_events_as_a_run_does(houston):
    output = generate_traffic("houston", "--customers", "5", "--sales", "6")

    read = run(JobCode.UPLOAD)["counts"]["read"]
    [(lines,)] = query(houston, "SELECT count(*) FROM retail_transaction_line")
    [(payments,)] = query(houston, "SELECT count(*) FROM retail_transaction_payment")
    assert output.startswith(f"houston: {read} events written (5 customer, ")
    assert f"6 retail_transaction), with {lines} lines and {payments} payments. Seed" in output


def test_the_command_says_what_becomes_of_every_faulty_customer(houston):
    output = generate_traffic("houston", "--customers", "40", "--faulty", "1")

    [faulty, to_quarantine, accepted] = re.search(
        r"(\d+) customers faulty \((\d+) to quarantine, (\d+) to accept all the same\)", output
    ).groups()
    run(JobCode.UPLOAD)
    assert int(faulty) == int(to_quarantine) + int(accepted) == 40
    assert Quarantine.objects.count() == int(to_quarantine)


def test_calls_without_a_seed_write_different_customers(store):
    generate_traffic(store.channel.code, "--customers", "10")
    generate_traffic(store.channel.code, "--customers", "10")

    assert count_events(store)["async_customer"] == 20


def test_the_command_prints_a_json_document(store):
    output = generate_traffic(store.channel.code, "--customers", "4", "--faulty", "0.5", "--json")

    document = json.loads(output)
    assert document["channel"] == store.channel.code
    assert document["faulty"] == 2
    assert document["rows"] == count_events(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere", "--customers", "1"],
        ["\udcff", "--customers", "1"],
        ["houston", "--customers", "-1"],
        ["houston", "--customers", "many"],
        ["houston", "--customers", "1", "--edits", "-1"],
        ["houston", "--customers", "1", "--faulty", "2"],
        ["houston", "--customers", "1", "--faulty", "nan"],
        ["houston", "--customers", "1", "--seed", "x"],
        ["houston", "--customers", "1", "--register", "till-9"],
        ["houston"],
        ["houston", "--sales", ""],
        ["houston", "--customers", "5", "--sales", "1", "--seed", "3"],
        ["houston", "--customers", "5", "--orders", "1", "--seed", "-1"],
    ],
)
def test_invalid_arguments_end_with_one_line_and_status_2(arguments, houston):
    with pytest.raises(CommandError) as error:
        generate_traffic(*arguments)

    assert error.value.returncode == 2
    assert "\n" not in str(error.value)
    assert count_events(houston).total() == 0


def test_a_seed_without_a_day_is_refused_for_sales(houston):
    with pytest.raises(CommandError, match=r"such as \d{8}000003:") as error:
        generate_traffic("houston", "--sales", "1", "--seed", "3")

    [suggested_seed] = re.findall(r"\d{14}", str(error.value))
    output = generate_traffic("houston", "--sales", "1", "--seed", suggested_seed)
    assert "1 retail_transaction" in output


def test_an_unreachable_channel_ends_with_one_line_and_status_1(houston):
    ChannelDatabase.objects.update(url="postgresql://till@127.0.0.1:9/nothing")

    with pytest.raises(CommandError, match="houston") as error:
        generate_traffic("houston", "--customers", "1")

    assert error.value.returncode == 1
    assert "\n" not in str(error.value)


def test_without_faker_the_error_says_what_to_install(popup, monkeypatch):
    monkeypatch.setitem(sys.modules, "faker", None)
    people.netherlands.cache_clear()
    people.united_states.cache_clear()

    with pytest.raises(FakerMissing, match=r"pip install 'syncline\[embedded\]'"):
        write_traffic(popup, customers=1)


def test_a_register_s_traffic_is_in_its_own_database(houston):
    till = ChannelDatabase.objects.create(
        channel=houston.channel,
        group=houston.group,
        name="till-1",
        url=f"sqlite:///{uuid4()}.sqlite3",
    )
    create_database(till)
    migrate_database(till)

    output = generate_traffic("houston", "--customers", "2", "--register", "till-1")

    assert output.startswith("houston/till-1: ")
    assert count_events(till)["async_customer"] == 2
    assert count_events(houston).total() == 0


@pytest.mark.parametrize("option", [{"customers": -1}, {"edits": -1}, {"faulty": 1.1}], ids=str)
def test_a_number_out_of_range_writes_nothing(option, popup):
    with pytest.raises(ValueError, match="count from 0"):
        write_traffic(popup, **({"customers": 1} | option))

    assert count_events(popup).total() == 0
