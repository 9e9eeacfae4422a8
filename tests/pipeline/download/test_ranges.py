"""Download sessions of long ago: folded into ranges, which still say when a channel learned whom.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `register` registers a channel by its code; `back_up` backs up a channel
database.
"""

import pytest
from django.utils import timezone

from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    DownloadRange,
    DownloadSession,
    Package,
    PackageTable,
    RunStep,
)
from stores.models.job import JobCode
from stores.models.session import DownloadStatus
from stores.models.step import remove_visits
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.download import packages, sessions
from stores.pipeline.download.ranges import fold_downloads, fold_sessions
from tests.support.make import lookup, make_customer, make_event, out_of_reach, run
from tests.support.promises import failed_checks
from tests.support.refused_customers import allow_customers, refuse_customer
from tests.support.traces import knows_account, trace


@pytest.fixture
def long_after(settings):
    """Call it: all that has happened is long ago, and the scheduler has seen to it."""

    def passes() -> None:
        settings.DETAILS_KEPT_DAYS = 0
        PackageTable.objects.all().delete()
        Package.objects.filter(dropped_at=None).update(dropped_at=timezone.now())
        remove_visits()
        fold_downloads()
        settings.DETAILS_KEPT_DAYS = 30

    return passes


def bring(database, *names: str) -> list:
    """New customers of a till, each brought to all channels by a pipeline and a package of its own.

    Returns their GUIDs.
    """
    guids = []
    for name in names:
        guids.append(make_customer(database, name))
        run("pipeline")
    return guids


def arrivals(guid) -> dict[str, tuple]:
    """Between which times a customer arrived at each database, by its label."""
    return {
        delivery.database.label: (delivery.earliest_at, delivery.delivered_at)
        for delivery in CustomerDelivery.objects.filter(customer__guids=guid).select_related(
            "database__channel"
        )
    }


def test_the_rows_that_stay_grow_with_packages_and_with_databases(
    houston, seattle, popup, long_after
):
    bring(houston, *"ABCDE")
    assert DownloadSession.objects.count() == 5 * 3

    long_after()

    assert (Package.objects.count(), DownloadRange.objects.count()) == (5, 3)
    assert not DownloadSession.objects.exists()
    assert not RunStep.objects.filter(database__isnull=False).exists()
    bring(houston, *"FGH")
    long_after()
    assert (Package.objects.count(), DownloadRange.objects.count()) == (8, 3)
    assert {folded.sessions for folded in DownloadRange.objects.all()} == {8}
    assert failed_checks() == {}


def test_a_range_says_when_a_channel_learned_of_a_customer(houston, popup, long_after):
    guids = bring(houston, "Ann", "Bo", "Cy")
    before = [arrivals(guid) for guid in guids]

    long_after()

    for guid, exact in zip(guids, before, strict=True):
        for label, (earliest, latest) in arrivals(guid).items():
            assert earliest <= exact[label][0] <= latest
    # The package knows more than the range: nobody had it before it was made, or after the last.
    bo, made = arrivals(guids[1]), Package.objects.order_by("pk")[1].made_at
    assert {earliest for earliest, _ in bo.values()} == {made}
    assert {latest for _, latest in bo.values()} == {max(at for at, _ in before[1].values())}


def test_a_trace_says_between_which_times_it_was(houston, popup, long_after):
    _, bo, _ = bring(houston, "Ann", "Bo", "Cy")
    exact, first = min((at, label) for label, (at, _) in arrivals(bo).items())
    long_after()

    customer_trace = trace(str(bo))

    assert customer_trace.state == "distributed"
    assert knows_account(customer_trace) == {
        "houston": True,
        "popup": True,
    }
    [event] = [
        event
        for event in customer_trace.events
        if (event.kind, event.channel) == ("delivered", first)
    ]
    # The other one was visited after it.
    assert event.at > exact
    assert event.text.startswith("Delivered in version 1 between ")
    assert (event.session, event.run) == (None, None)


def test_many_chunks_fold_as_one_and_once_more_changes_nothing(
    houston, popup, long_after, settings
):
    bring(houston, *"ABCD")
    PackageTable.objects.all().delete()
    Package.objects.update(dropped_at=timezone.now())
    settings.DETAILS_KEPT_DAYS = 0
    remove_visits()

    folded = [fold_sessions(limit=3) for _ in range(4)]

    assert folded == [3, 3, 2, 0]
    assert DownloadRange.objects.count() == 2
    ranges = list(DownloadRange.objects.order_by("pk").values())
    long_after()
    assert list(DownloadRange.objects.order_by("pk").values()) == ranges


def test_what_is_not_over_or_somebody_decided_keeps_its_session(houston, popup, long_after):
    bring(houston, "Ann", "Bo")
    again = sessions.rerun(DownloadSession.objects.filter(database=popup).earliest("started_at"))
    with out_of_reach(popup):
        run("pipeline")
        bring(houston, "Cy")
    canceled = DownloadSession.objects.get(database=popup, status=DownloadStatus.DOWNLOAD_FAILED)
    sessions.cancel(canceled)

    long_after()

    left = dict(DownloadSession.objects.values_list("pk", "status"))
    assert left == {again.pk: DownloadStatus.AVAILABLE}
    assert DownloadRange.objects.count() == 2


def test_young_sessions_and_those_of_recent_runs_are_kept(houston, settings):
    bring(houston, "Ann")
    PackageTable.objects.all().delete()
    Package.objects.update(dropped_at=timezone.now())
    remove_visits()
    assert fold_sessions() == 0

    settings.DETAILS_KEPT_DAYS = 0
    # Its run still has its steps.
    assert fold_sessions() == 0
    remove_visits()
    assert fold_sessions() == 1


def test_only_neighbors_of_a_session_with_refusals_become_ranges(houston, popup, long_after):
    [ann] = bring(houston, "Ann")
    refuse_customer(popup, "Bad")
    bad, cy = bring(houston, "Bad", "Cy")
    allow_customers(popup)
    run("pipeline")
    exact = arrivals(bad)["popup"]

    long_after()

    kept = DownloadSession.objects.filter(database=popup)
    assert sorted(kept.values_list("customers", "sends_single_customers")) == [
        (0, False),
        (1, True),
    ]
    assert DownloadRange.objects.filter(database=popup).count() == 2
    assert arrivals(bad)["popup"] == exact
    assert "popup" in arrivals(ann)
    assert "popup" in arrivals(cy)
    assert failed_checks() == {}


def test_shortcuts_are_folded_apart_from_the_chain(houston, popup, long_after, monkeypatch):
    monkeypatch.setattr(packages, "MAX_PACKAGES_AHEAD", 1)
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    guids = bring(houston, "Ann", "Bo", "Cy")
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=True)
    run(JobCode.DOWNLOAD)
    guids += bring(houston, "Di")
    exact = [arrivals(guid)["popup"][0] for guid in guids]

    long_after()

    ranges = DownloadRange.objects.filter(database=popup).order_by("from_no")
    assert [(row.is_shortcut, row.sessions) for row in ranges] == [(True, 1), (False, 1)]
    folded = [arrivals(guid)["popup"] for guid in guids]
    for (earliest, latest), moment in zip(folded, exact, strict=True):
        assert earliest <= moment <= latest
    # Its own shortcut came later than the packages that the others took.
    assert folded[0][0] > arrivals(guids[2])["houston"][1]
    assert failed_checks() == {}


def test_everything_sent_again_is_told_beside_the_first_time(houston, popup, long_after):
    [ann] = bring(houston, "Ann")
    long_after()
    sessions.start_over(popup)
    run(JobCode.DOWNLOAD)

    long_after()

    customer = Customer.objects.get(guids=ann)
    assert CustomerDelivery.objects.filter(database=popup, customer=customer).count() == 2
    assert len(CustomerDelivery.objects.held_of(customer)[popup.pk]) == 2
    assert failed_checks() == {}


def test_a_database_set_back_lacks_what_lies_behind_its_position(
    houston, popup, back_up, long_after
):
    [ann] = bring(houston, "Ann")
    backup = back_up(popup)
    [bo] = bring(houston, "Bo")
    long_after()
    backup.restore()
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        position=Package.objects.earliest("pk").to_no
    )

    held = [
        CustomerDelivery.objects.held_of(Customer.objects.get(guids=guid)) for guid in (ann, bo)
    ]

    assert [popup.pk in databases for databases in held] == [True, False]
    run("pipeline")
    assert lookup(popup) == lookup(houston)
    long_after()
    assert failed_checks() == {}


def test_a_range_known_only_from_the_database_has_no_start(houston, popup, long_after):
    [ann] = bring(houston, "Ann")
    long_after()
    [bo] = bring(houston, "Bo")
    # As if headquarters had been restored from a backup that was made before Bo was sent.
    DownloadSession.objects.filter(database=popup).delete()
    Package.objects.filter(dropped_at=None).update(dropped_at=timezone.now())
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        position=Package.objects.earliest("pk").to_no
    )

    run(JobCode.DOWNLOAD)

    by_its_word = DownloadRange.objects.get(database=popup, sessions=0)
    assert by_its_word.from_no == Package.objects.earliest("pk").to_no
    assert arrivals(bo)["popup"][1] == by_its_word.last_applied_at
    assert "popup" in arrivals(ann)
    bring(houston, "Cy")
    long_after()
    assert failed_checks() == {}


def test_an_edit_after_a_removal_in_a_range_does_not_conflict(houston, popup, long_after):
    [ann] = bring(houston, "Ann")
    make_event("customer", houston, async_account=ann, operation="deactivate")
    run("pipeline")
    long_after()
    make_event("customer", popup, async_account=ann, operation="update", first_name="Anna")

    run("pipeline")

    customer = Customer.objects.get(guids=ann)
    assert (customer.first_name, customer.is_active) == ("Anna", True)
    assert not customer.conflicts.exists()


@pytest.mark.parametrize("gap", ["none", "narrower"])
def test_a_range_that_leaves_a_gap_breaks_a_promise(houston, popup, long_after, gap):
    bring(houston, "Ann", "Bo")
    long_after()
    assert failed_checks() == {}
    lost = DownloadRange.objects.filter(database=popup)
    if gap == "none":
        lost.delete()
    else:
        lost.update(from_no=Package.objects.earliest("pk").to_no)

    [breach, *_] = failed_checks()["I19"]

    assert breach["what"] == "no session or range"


def test_an_imported_customer_of_a_range_is_found_by_account(houston, popup, long_after):
    import_account(houston.channel.company, "IMPORTED", first_name="Ann", last_name="Lee")
    run(JobCode.DOWNLOAD)
    long_after()

    customer_trace = trace("USRT:IMPORTED")

    assert [place.knows_account for place in customer_trace.channels] == [True, True]
