"""Made-up traffic: from a seed, into the event tables of a channel and nowhere else."""
# ruff: noqa: S608 - the names put into SQL are those of the schema

import json
import re
import sys
from collections import Counter
from datetime import datetime
from io import StringIO
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from stores import traffic
from stores.channeldb.connect.connection import connect
from stores.channeldb.provision import create_database, migrate_database
from stores.channeldb.schema import tables
from stores.models import AsyncCustomer, ChannelDatabase, GuidMap, Quarantine
from stores.traffic import FakerMissing, SeedTaken, faults, people, write_traffic
from stores.traffic.store import Store, day_of, fresh_seed

TABLES = people.EVENT_TABLES
CUSTOMER = ", ".join(column.name for column in tables.CUSTOMER)
SEED = 1010


@pytest.fixture(params=["houston", "popup"])
def channel(request: pytest.FixtureRequest) -> ChannelDatabase:
    """A channel on each engine: houston on PostgreSQL, popup in a SQLite file."""
    return request.getfixturevalue(request.param)


def query(database: ChannelDatabase, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """Rows as a stranger to the program reads them."""
    with connect(database) as alias, connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def contents(database: ChannelDatabase) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: query(database, f"SELECT * FROM {table} ORDER BY replication_counter")
        for table in TABLES
    }


def contents_as_bytes(database: ChannelDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, also those with letters that are none."""
    with connect(database) as alias:
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                found = {}
                for table in TABLES:
                    cursor.execute(f"SELECT t::text FROM {table} t ORDER BY replication_counter")
                    found[table] = cursor.fetchall()
                return found
        connections[alias].connection.text_factory = bytes
        return {
            table: connections[alias].connection.execute(f"SELECT * FROM {table}").fetchall()
            for table in TABLES
        }


def counts(database: ChannelDatabase) -> Counter[str]:
    return +Counter({t: query(database, f"SELECT count(*) FROM {t}")[0][0] for t in TABLES})


def convert(database: ChannelDatabase) -> None:
    """Tell the channel of an account for each of its customers, as HQ would."""
    columns = "account_number, company, async_account"
    query(
        database,
        f"INSERT INTO customer ({columns}, {CUSTOMER})"
        f" SELECT 'C-' || (1000 + replication_counter), 'USRT', async_account, {CUSTOMER}"
        " FROM async_customer WHERE operation = 'create'",
    )
    query(database, f"INSERT INTO account_map ({columns}) SELECT {columns} FROM customer")


def faulty_rows(database: ChannelDatabase, column: str) -> list[Any]:
    rows = query(database, f"SELECT {column} FROM async_customer WHERE terminal_id = 'T99'")
    return [value for (value,) in rows]


def command(*words: str) -> str:
    said = StringIO()
    call_command("generate_traffic", *words, stdout=said)
    return said.getvalue()


# A seed


def test_the_same_call_writes_the_same_rows(channel):
    store = Store.of(channel, SEED)

    once, again = (
        [people.new_customer(store.stream(n), store, store.moment(n / 9)) for n in range(9)]
        for _ in range(2)
    )

    assert once == again


def test_a_repeated_call_adds_nothing(channel):
    first = write_traffic(channel, customers=12, edits=6, seed=SEED, faulty=0.3)
    before = contents_as_bytes(channel)
    second = write_traffic(channel, customers=12, edits=6, seed=SEED, faulty=0.3)

    assert contents_as_bytes(channel) == before
    assert second.rows.total() == second.edits == second.faulty == 0
    assert second.repeated == first.rows.total() == counts(channel).total()


def test_a_repeat_is_harmless_after_hq_has_acknowledged(channel):
    write_traffic(channel, customers=5, seed=SEED)
    for table in TABLES:
        query(channel, f"UPDATE {table} SET acknowledged_at = '2026-01-01T00:00:00+00:00'")

    assert write_traffic(channel, customers=5, seed=SEED).rows.total() == 0


def test_a_repeat_is_harmless_after_its_edits_have_changed_what_there_is_to_edit(channel):
    write_traffic(channel, customers=8, edits=30, seed=SEED)
    before = counts(channel)
    convert(channel)

    assert write_traffic(channel, customers=8, edits=30, seed=SEED).edits == 0
    assert counts(channel) == before


def test_without_a_seed_each_call_brings_new_customers(channel):
    first = write_traffic(channel, customers=10)
    second = write_traffic(channel, customers=10)

    assert first.seed != second.seed
    assert counts(channel)["async_customer"] == 20


def test_two_channels_with_one_seed_have_different_customers(houston, popup):
    for database in (houston, popup):
        write_traffic(database, customers=5, seed=SEED)

    guids = [
        str(guid)
        for database in (houston, popup)
        for (guid,) in query(database, "SELECT async_account FROM async_customer")
    ]
    assert len(set(guids)) == 10


def test_a_seed_whose_rows_were_others_is_refused_in_our_own_words(popup):
    write_traffic(popup, customers=3, seed=SEED)
    popup.channel.country = "USA"

    with pytest.raises(SeedTaken, match="choose another"):
        write_traffic(popup, customers=3, seed=SEED)


def test_a_fresh_seed_names_its_day_and_a_small_one_a_day_long_past():
    assert str(fresh_seed("NLD")).startswith(f"{day_of(fresh_seed('NLD')):%Y%m%d}")
    assert day_of(20260228_000001).isoformat() == "2026-02-28"
    assert {day_of(seed).isoformat() for seed in (-1, 0, 7, 99999999_000000)} == {"2025-06-02"}


# What is written


def test_the_numbers_told_are_the_numbers_written(channel):
    written = write_traffic(channel, customers=40, edits=10, faulty=0.2)

    assert written.rows == counts(channel)
    assert written.database == channel.label
    assert written.faulty == 8


def test_customers_have_as_much_as_real_ones(channel):
    write_traffic(channel, customers=1000, seed=SEED)
    found = counts(channel)

    assert found["async_customer"] == 1000
    assert found["async_address"] == pytest.approx(1300, rel=0.1)
    assert found["async_contact"] == pytest.approx(1000, rel=0.1)
    assert found["async_affiliation"] == pytest.approx(500, rel=0.15)
    assert found["async_attribute"] == pytest.approx(1000, rel=0.1)


def test_good_rows_keep_to_the_limits_and_words_of_hq(channel):
    write_traffic(channel, customers=300, edits=60, seed=SEED)

    for table, rows in contents(channel).items():
        columns = tables.TABLE[table].columns
        for row in rows:
            for column, value in zip(columns, row, strict=True):
                assert value is None or not column.limit or len(value) <= column.limit
                assert not column.words or value in column.words


def test_every_guid_is_canonical_and_made_once(channel):
    write_traffic(channel, customers=200, seed=SEED)

    rows = query(channel, "SELECT event_id, async_account FROM async_customer")
    guids = [str(guid) for row in rows for guid in row]
    assert len(set(guids)) == 400
    assert all(str(UUID(guid)) == guid and UUID(guid).version == 4 for guid in guids)


def test_nobody_can_be_reached(channel):
    write_traffic(channel, customers=200, seed=SEED)

    for email, phone in query(channel, "SELECT email, phone FROM async_customer"):
        assert email is None or re.fullmatch(r"[a-z0-9.]+@example\.(com|nl|org)", email)
        assert phone is None or re.fullmatch(r"\+31 6 0\d{7}|\+1 \d{3} 555 01\d\d", phone)


def test_a_day_is_told_in_order_and_within_opening_hours(channel):
    write_traffic(channel, customers=100, seed=SEED)

    rows = query(channel, "SELECT occurred_at FROM async_customer ORDER BY replication_counter")
    zone = Store.of(channel, SEED).zone
    times = [datetime.fromisoformat(str(moment)).astimezone(zone) for (moment,) in rows]
    assert times == sorted(times)
    assert {time.date() for time in times} == {day_of(SEED)}
    assert all(9 <= time.hour < 21 for time in times)


def test_children_follow_a_customer_that_is_there(channel):
    write_traffic(channel, customers=100, seed=SEED)

    for table in TABLES[1:]:
        lost = query(
            channel,
            f"SELECT count(*) FROM {table} c WHERE NOT EXISTS"
            " (SELECT 1 FROM async_customer p WHERE p.async_account = c.async_account)",
        )
        assert lost == [(0,)]


def test_people_come_from_both_countries_with_and_without_consent(channel):
    write_traffic(channel, customers=200, seed=SEED)

    assert {c for (c,) in query(channel, "SELECT country FROM async_address")} == {"NLD", "USA"}
    assert {k for (k,) in query(channel, "SELECT customer_type FROM async_customer")} == {
        "person",
        "organization",
    }
    consents = query(channel, "SELECT DISTINCT marketing_opt_in FROM async_contact")
    assert len(consents) == 3


def test_hq_is_read_at_most(channel):
    channel = ChannelDatabase.objects.get(pk=channel.pk)

    with CaptureQueriesContext(connection) as asked:
        write_traffic(channel, customers=20, edits=5, faulty=0.2)

    assert all(query["sql"].startswith("SELECT") for query in asked)
    hq: tuple[type[Model], ...] = (AsyncCustomer, GuidMap, Quarantine)
    assert not any(model.objects.exists() for model in hq)


def test_tables_of_hq_in_the_channel_stay_as_they_were(channel):
    before = [query(channel, f"SELECT * FROM {table.name}") for table in tables.HQ_TABLES]

    write_traffic(channel, customers=20, edits=5, faulty=0.2)

    assert before == [query(channel, f"SELECT * FROM {table.name}") for table in tables.HQ_TABLES]


# Edits


def test_pending_customers_are_edited_under_their_guid_and_later(channel):
    write_traffic(channel, customers=10, edits=40, seed=SEED)

    rows = query(
        channel,
        "SELECT e.async_account, e.account_number FROM async_customer e JOIN async_customer c"
        " ON c.async_account = e.async_account AND c.operation = 'create'"
        " WHERE e.operation <> 'create' AND e.occurred_at > c.occurred_at",
    )
    total = query(channel, "SELECT count(*) FROM async_customer WHERE operation <> 'create'")
    assert total == [(len(rows),)]
    assert all(guid and account is None for guid, account in rows)


def test_converted_customers_are_edited_under_guid_both_or_account(channel):
    write_traffic(channel, customers=60, seed=SEED)
    convert(channel)
    write_traffic(channel, customers=0, edits=60, seed=SEED)

    named = {
        (guid is not None, account is not None)
        for guid, account in query(
            channel,
            "SELECT async_account, account_number FROM async_customer WHERE operation = 'update'",
        )
    }
    assert named == {(True, False), (True, True), (False, True)}


def test_an_edit_carries_the_complete_state(channel):
    write_traffic(channel, customers=40, edits=40, seed=SEED)

    pairs = query(
        channel,
        "SELECT c.first_name, e.first_name, c.email, e.email, c.phone || c.name, e.phone || e.name"
        " FROM async_customer e JOIN async_customer c ON c.async_account = e.async_account"
        " WHERE c.operation = 'create' AND e.operation = 'update'",
    )
    assert pairs
    assert all(
        (first == same_first and email == same_email and before != after) or before is None
        for first, same_first, email, same_email, before, after in pairs
    )


def test_customers_addresses_and_contacts_are_also_taken_away(channel):
    write_traffic(channel, customers=200, edits=200, seed=SEED)

    for table in TABLES[:3]:
        removed = query(channel, f"SELECT count(*) FROM {table} WHERE operation = 'deactivate'")
        assert removed[0][0] > 0


def test_whom_the_till_took_away_is_not_edited_again(channel):
    write_traffic(channel, customers=30, edits=200, seed=SEED)
    again = query(
        channel,
        "SELECT count(*) FROM async_customer e JOIN async_customer gone"
        " ON gone.async_account = e.async_account AND gone.operation = 'deactivate'"
        " WHERE e.replication_counter > gone.replication_counter",
    )

    assert again == [(0,)]


def test_without_customers_there_is_nothing_to_edit(channel):
    assert write_traffic(channel, customers=0, edits=5).edits == 0


def test_a_faulty_customer_is_never_edited(channel):
    write_traffic(channel, customers=70, faulty=1, seed=SEED)

    assert write_traffic(channel, customers=0, edits=5).edits == 0


# Faults


def test_every_fault_of_the_engine_is_let_through(channel):
    engine = "sqlite" if channel.label == "popup" else "postgresql"
    expected = faults.faults_on(engine)

    written = write_traffic(channel, customers=len(expected), faulty=1, seed=SEED)

    assert written.faulty == len(expected)
    assert written.quarantined == Counter(fault.reason for fault in expected if fault.reason)


def test_faulty_customers_leave_the_good_ones_as_they_were(channel):
    with_faults = write_traffic(channel, customers=20, faulty=0.5, seed=SEED)
    good = write_traffic(channel, customers=20, seed=SEED)

    assert with_faults.faulty == 10
    assert good.customers == 10


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_one_row_out_of_place(fault):
    store = Store("houston", "USA", SEED)
    events = faults.make_faulty(store.stream(), store, store.moment(0), fault)

    assert fault.name == "customer_never_comes" or len(events["async_customer"]) == 1
    assert set(events) == {"async_customer", fault.table}
    assert fault.spoil.__doc__


def test_sqlite_holds_broken_letters_and_bytes_as_they_came(popup):
    engine = faults.faults_on("sqlite")
    write_traffic(popup, customers=len(engine), faulty=1, seed=SEED)

    last_names = faulty_rows(popup, "CAST(last_name AS blob)")
    assert b"M\xc3" in last_names
    assert ("blob",) in query(popup, "SELECT typeof(first_name) FROM async_customer")
    assert "0000-00-00" in faulty_rows(popup, "birth_date")


def test_an_empty_event_id_stands_in_a_channel_once(popup):
    for seed in (SEED, SEED + 1):
        write_traffic(popup, customers=40, faulty=1, seed=seed)

    assert query(popup, "SELECT count(*) FROM async_customer WHERE event_id = ''") == [(1,)]


def test_rare_names_arrive_in_the_channel_exactly(channel):
    write_traffic(channel, customers=40, faulty=1, seed=SEED)

    # Read by letter and not by row: other names of the channel may be no letters at all.
    for first in (faults.FAMILY, "<script>alert(1)</script>", "小明", "ليلى"):
        found = query(channel, "SELECT first_name FROM async_customer WHERE first_name = %s", first)
        assert set(found) == {(first,)}


# The command


def test_the_command_says_what_it_wrote_and_its_seed(channel):
    said = command(channel.channel.code, "--customers", "3", "--seed", "7")

    events = counts(channel).total()
    assert said.startswith(f"{channel.label}: {events} events written (3 customer, ")
    assert said.endswith("Seed 7.\n")
    assert said.count("\n") == 1


def test_the_command_says_how_many_faulty_sales_go_to_quarantine_and_how_many_break_a_rule(houston):
    said = command("houston", "--sales", "6", "--faulty", "1")

    assert "), 6 sales and orders faulty (2 to quarantine, 4 to break a rule). Seed " in said


def test_the_command_called_twice_without_a_seed_makes_twenty_customers(channel):
    for _ in range(2):
        command(channel.channel.code, "--customers", "10")

    assert counts(channel)["async_customer"] == 20


def test_the_command_prints_one_document(channel):
    said = command(channel.channel.code, "--customers", "4", "--faulty", "0.5", "--json")

    document = json.loads(said)
    assert document["channel"] == channel.channel.code
    assert document["faulty"] == 2
    assert document["rows"] == counts(channel)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
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
def test_wrong_arguments_are_one_line_and_status_two(words, houston):
    with pytest.raises(CommandError) as refused:
        command(*words)

    assert refused.value.returncode == 2
    assert "\n" not in str(refused.value)
    assert counts(houston).total() == 0


def test_a_seed_for_sales_that_names_no_day_is_refused_with_one_that_does(houston):
    with pytest.raises(CommandError, match=r"such as \d{8}000003:") as refused:
        command("houston", "--sales", "1", "--seed", "3")

    (better,) = re.findall(r"\d{14}", str(refused.value))
    assert "1 retail_transaction" in command("houston", "--sales", "1", "--seed", better)


def test_a_channel_out_of_reach_is_one_line_and_status_one(houston):
    ChannelDatabase.objects.update(url="postgresql://till@127.0.0.1:9/nothing")

    with pytest.raises(CommandError, match="houston") as refused:
        command("houston", "--customers", "1")

    assert refused.value.returncode == 1
    assert "\n" not in str(refused.value)


def test_without_faker_one_sentence_says_what_to_install(popup, monkeypatch):
    monkeypatch.setitem(sys.modules, "faker", None)
    people.netherlands.cache_clear()
    people.united_states.cache_clear()

    with pytest.raises(FakerMissing, match=r"pip install 'syncline\[embedded\]'"):
        write_traffic(popup, customers=1)


def test_a_register_writes_into_its_own_database(houston):
    till = ChannelDatabase.objects.create(
        channel=houston.channel,
        group=houston.group,
        name="till-1",
        url=f"sqlite:///{uuid4()}.sqlite3",
    )
    create_database(till)
    migrate_database(till)

    said = command("houston", "--customers", "2", "--register", "till-1")

    assert said.startswith("houston/till-1: ")
    assert counts(till)["async_customer"] == 2
    assert counts(houston).total() == 0


@pytest.mark.parametrize("wrong", [{"customers": -1}, {"edits": -1}, {"faulty": 1.1}])
def test_numbers_out_of_range_are_refused_before_anything_is_written(wrong, popup):
    with pytest.raises(ValueError, match="count from 0"):
        write_traffic(popup, **({"customers": 1} | wrong))

    assert counts(popup).total() == 0


def test_a_call_cut_short_leaves_whole_customers_and_its_repeat_completes_them(
    channel, monkeypatch
):
    insert, calls = traffic._insert, count()
    monkeypatch.setattr(traffic, "BATCH", 10)
    # The second batch has its customers, and the line goes down before their addresses.
    monkeypatch.setattr(traffic, "_insert", lambda *a: 1 / 0 if next(calls) == 6 else insert(*a))
    with pytest.raises(ZeroDivisionError):
        write_traffic(channel, customers=20, seed=SEED)
    monkeypatch.undo()

    assert counts(channel)["async_customer"] == 10
    assert write_traffic(channel, customers=20, seed=SEED).customers == 10
