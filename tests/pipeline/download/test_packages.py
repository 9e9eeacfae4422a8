"""Packages: made once for all who stand alike, in order, and gone when nobody needs them.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `command` calls a management command and
returns its output.
"""

import json

import pytest
from django.db import connection

from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerChange,
    DownloadSession,
    Package,
    PackageTable,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.download import packages
from stores.pipeline.download.outbound import accounts_in
from stores.pipeline.download.packages import (
    PackageDropped,
    load_tables,
    package_for,
)
from tests.support.make import lookup, make_customer, make_event, pending, query, run
from tests.support.promises import failed_checks


def convert(database, *names: str) -> list:
    """Customers of a till with their accounts, which no channel knows yet; their GUIDs."""
    guids = [make_customer(database, name) for name in names]
    run(JobCode.UPLOAD)
    run("sync-customers")
    return guids


def position(database) -> int:
    database.refresh_from_db()
    return database.position


def positions_in(database) -> dict[str, int]:
    """Up to which change of each company the channel says that it has everything."""
    [(positions,)] = query(database, "SELECT positions FROM exchange_state")
    # SQLite holds JSON as text.
    return json.loads(positions) if isinstance(positions, str) else positions


def age_packages(days: str) -> None:
    """Have the packages been made so long ago."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE package SET made_at = now() - %s::interval", [days])
        cursor.execute("SET session_replication_role = DEFAULT")


def test_every_change_takes_the_next_number(houston, popup):
    [ann, _] = convert(houston, "Ann", "Bo")
    make_event("customer", houston, async_account=ann, operation="update", first_name="Anna")
    make_event("address", houston, async_account=ann)
    run(JobCode.UPLOAD)
    run("sync-customers")
    import_account(houston.channel.company, "IMPORTED")

    changes = CustomerChange.objects.filter(customer__number__isnull=False).order_by("change_no")
    # Ann and Bo are created; Ann is renamed, and gets an address.
    assert [change.version for change in changes] == [1, 1, 2, 3]
    numbers = [change.change_no for change in changes]
    assert len(set(numbers)) == 4
    latest = Customer.objects.get(account_number="IMPORTED")
    assert latest.change_no == latest.company.change_no > max(numbers)
    assert Customer.objects.get(guids=ann).change_no == numbers[-1]


def test_default_customers_have_no_change_number_and_stay_at_home(houston):
    default = houston.channel.default_customer
    make_event("customer", houston, account_number=default.account_number, operation="update")

    run("pipeline")

    default.refresh_from_db()
    assert (default.hq_version, default.change_no) == (2, None)
    assert lookup(houston) == []


def test_a_package_is_made_once_for_all_who_stand_alike(houston, seattle, popup):
    convert(houston, "Ann", "Bo")

    run(JobCode.DOWNLOAD)

    package = Package.objects.get()
    assert (package.from_no, package.customers, package.is_shortcut) == (0, 2, False)
    assert package.tables.count() == 6
    assert set(DownloadSession.objects.values_list("package", flat=True)) == {package.pk}
    assert {position(database) for database in (houston, seattle, popup)} == {package.to_no}
    for database in (houston, seattle, popup):
        assert positions_in(database) == {"USRT": package.to_no}


def test_one_further_back_takes_several_packages(houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
        run("pipeline")
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=True)

    result = run(JobCode.DOWNLOAD)

    assert result["counts"] == {"distributed": 3}
    assert lookup(popup) == lookup(houston)
    assert Package.objects.count() == 3
    assert DownloadSession.objects.filter(database=popup).count() == 3


def test_a_database_far_behind_gets_a_shortcut_package(houston, popup, monkeypatch):
    monkeypatch.setattr(packages, "MAX_PACKAGES_AHEAD", 1)
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    for name in ("Ann", "Bo", "Cy"):
        make_customer(houston, name)
        run("pipeline")
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=True)

    run(JobCode.DOWNLOAD)

    shortcut = Package.objects.get(is_shortcut=True)
    assert (shortcut.customers, shortcut.to_no) == (3, position(houston))
    assert position(popup) == position(houston)
    assert lookup(popup) == lookup(houston)
    # Where it ends begins the next package of all.
    make_customer(houston, "Di")
    run("pipeline")
    assert Package.objects.filter(is_shortcut=True).count() == 1
    assert lookup(popup) == lookup(houston)


def test_a_package_begins_where_the_full_one_before_ends(houston, popup, monkeypatch):
    monkeypatch.setattr(packages, "CUSTOMERS_PER_CHUNK", 2)
    convert(houston, "Ann", "Bo", "Cy")

    run(JobCode.DOWNLOAD)

    first, second = Package.objects.order_by("from_no")
    assert (first.customers, second.customers) == (2, 1)
    assert second.from_no == first.to_no
    assert len(lookup(popup)) == 3


def test_a_customer_changed_since_is_left_to_a_later_package(houston):
    [ann, _] = convert(houston, "Ann", "Bo")
    early = package_for("USRT", 0, None)
    assert len(accounts_in(load_tables(early))) == 2
    make_event("customer", houston, async_account=ann, operation="update", first_name="Anna")
    run(JobCode.UPLOAD)
    run("sync-customers")
    packages.drop(early)

    late = package_for("USRT", 0, None)

    assert late.is_shortcut
    assert len(accounts_in(load_tables(late))) == 1
    run(JobCode.DOWNLOAD)
    assert sorted(name for _, name in lookup(houston)) == ["Anna", "Bo"]


def test_a_damaged_package_is_dropped_and_made_anew(houston, popup):
    convert(houston, "Ann")
    package = package_for("USRT", 0, None)
    PackageTable.objects.filter(package=package, name="customer").update(data="x")

    with pytest.raises(PackageDropped):
        load_tables(package)
    run(JobCode.DOWNLOAD)

    assert lookup(houston) == lookup(popup) == [("005001", "Ann")]
    assert failed_checks() == {}


def test_a_process_reads_and_verifies_a_package_once(houston, popup, django_assert_num_queries):
    convert(houston, "Ann")
    package = package_for("USRT", 0, None)

    first = load_tables(package)
    with django_assert_num_queries(1):
        second = load_tables(package)

    assert second == first


def test_a_package_in_memory_is_not_sent_once_dropped(houston):
    convert(houston, "Ann")
    package = package_for("USRT", 0, None)
    load_tables(package)

    packages.drop(package)

    with pytest.raises(PackageDropped):
        load_tables(package)


def test_a_package_s_data_is_dropped_a_day_after_delivery(houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(url="sqlite:///channels/away.sqlite3")
    convert(houston, "Ann")
    run(JobCode.DOWNLOAD)
    age_packages("2 days")
    popup.refresh_from_db()
    make_customer(houston, "Bo")
    run("pipeline")
    assert Package.objects.available().count() == 2

    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    make_customer(houston, "Cy")
    run("pipeline")

    assert Package.objects.count() == 3
    assert Package.objects.available().count() == 2
    assert PackageTable.objects.values("package").distinct().count() == 2


def test_the_data_goes_also_where_nothing_changes_any_more(houston):
    convert(houston, "Ann")
    run(JobCode.DOWNLOAD)
    age_packages("2 days")
    assert Package.objects.available().count() == 1

    packages.drop_delivered()

    assert not Package.objects.available().exists()
    assert not PackageTable.objects.exists()
    assert failed_checks() == {}


def test_old_packages_are_dropped_and_made_again_when_needed(houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(url="sqlite:///channels/away.sqlite3")
    convert(houston, "Ann")
    run(JobCode.DOWNLOAD)
    age_packages("60 days")
    make_customer(houston, "Bo")
    run("pipeline")
    assert Package.objects.exclude(dropped_at=None).count() == 1

    ChannelDatabase.objects.filter(pk=popup.pk).update(url=popup.url, next_try_at=None)
    run(JobCode.DOWNLOAD)

    assert lookup(popup) == lookup(houston)


def test_an_erased_customer_leaves_no_package(houston):
    [ann] = convert(houston, "Ann")
    run(JobCode.DOWNLOAD)
    convert(houston, "Bo")
    run(JobCode.DOWNLOAD)

    Customer.objects.filter(guids=ann).update(state="erased", first_name=None)

    of_ann, of_bo = Package.objects.order_by("from_no")
    assert of_ann.dropped_at
    assert of_ann.tables.count() == 0
    assert of_bo.tables.count() == 6


def test_the_count_of_what_a_channel_lacks_is_exact(houston, popup, command):
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    [ann, *_] = convert(houston, "Ann", "Bo", "Cy")
    make_event("customer", houston, async_account=ann, operation="update", first_name="Anna")
    run("pipeline")

    channels = json.loads(command("channels", "--json"))["channels"]

    owed = {row["channel"]: row["counts"]["owed"] for row in channels}
    assert owed == {"houston": 0, "popup": 3}
    assert len(pending(popup)) == 3
