"""The pages of downloads: a session with its package, and what a user may do with it.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `reader` is a client
of a user who may see every page; `boss` is a client of an administrator; `starter` is a client of a
user who may also start jobs.
"""

import pytest
from django.utils import timezone

from stores.models import ChannelDatabase, Customer, DownloadException, DownloadSession
from stores.models.job import JobCode
from stores.models.session import DownloadStatus
from stores.pipeline.download import sessions
from stores.web.format import size
from tests.support.make import lookup, make_customer, out_of_reach, query, run
from tests.support.refused_customers import refuse_customer

pytestmark = pytest.mark.slow


@pytest.fixture
def session(houston, popup) -> DownloadSession:
    """The session that brought Ann to popup."""
    make_customer(houston, "Ann")
    run("pipeline")
    return DownloadSession.objects.get(database=popup)


@pytest.fixture
def failed_session(houston, popup) -> DownloadSession:
    """A session for popup, which could not be reached."""
    make_customer(houston, "Ann")
    with out_of_reach(popup):
        run("pipeline")
    return DownloadSession.objects.get(database=popup)


def test_the_page_of_a_session_shows_its_package(reader, session):
    page = reader.get(session.get_absolute_url()).content.decode()

    assert "Download to popup" in page
    assert session.package.sha256 in page
    assert size(session.package.size_bytes) in page
    assert "Send again" not in page


def test_the_list_leads_to_the_page(reader, session):
    page = reader.get("/sessions/downloads/").content.decode()

    # In the first column, because narrow windows leave out others.
    assert f'<td ><a href="{session.get_absolute_url()}">' in page


def test_a_package_is_sent_again(starter, session, popup):
    query(popup, "DELETE FROM customer")

    starter.post(f"{session.get_absolute_url()}rerun/")
    run(JobCode.DOWNLOAD)

    assert len(lookup(popup)) == 1
    assert DownloadSession.objects.filter(database=popup).count() == 2


def test_a_failed_session_is_cancelled_once(starter, failed_session):
    url = f"{failed_session.get_absolute_url()}cancel/"

    first = starter.post(url, follow=True).content.decode()
    second = starter.post(url, follow=True).content.decode()

    failed_session.refresh_from_db()
    assert failed_session.status == DownloadStatus.CANCELED
    assert "Session canceled." in first
    assert "can be canceled." in second


def test_a_failed_session_can_be_deleted_but_not_an_applied_one(starter, failed_session, popup):
    starter.post(f"{failed_session.get_absolute_url()}delete/")
    run(JobCode.DOWNLOAD)
    applied = DownloadSession.objects.get(database=popup)
    refused = starter.post(f"{applied.get_absolute_url()}delete/", follow=True).content.decode()

    assert not DownloadSession.objects.filter(pk=failed_session.pk).exists()
    assert "Only a session that brought nothing can be deleted." in refused
    assert DownloadSession.objects.filter(pk=applied.pk).exists()


def test_a_session_that_settled_an_exception_cannot_be_deleted(starter, failed_session, popup):
    customer = Customer.objects.get(number__isnull=False)
    failed_session.exceptions.create(
        database=popup, customer=customer, reason="requested", settled_at=timezone.now(), version=1
    )

    page = starter.get(failed_session.get_absolute_url()).content.decode()

    assert "Cancel" in page
    assert "Delete" not in page


def test_everything_is_sent_once_its_rows_were_shown(starter, session, popup):
    query(popup, "DELETE FROM customer")

    preview = starter.get("/channels/popup/full/").content.decode()
    starter.post("/channels/popup/full/", {"database": popup.pk})
    run(JobCode.DOWNLOAD)

    assert "Customer address" in preview
    assert "Send everything to popup" in preview
    assert len(lookup(popup)) == 1


@pytest.mark.parametrize("number", ["", "x", "0"])
def test_everything_for_no_database_is_not_found(starter, session, number):
    assert starter.post("/channels/popup/full/", {"database": number}).status_code == 404


def test_a_customer_is_sent_again_to_one_channel(starter, session, popup):
    customer = Customer.objects.get(number__isnull=False)

    response = starter.post(f"/customers/{customer}/resend/", {"database": popup.pk}, follow=True)

    assert "The next download sends" in response.content.decode()
    exception = DownloadException.objects.get()
    assert (exception.database, exception.customer) == (popup, customer)


@pytest.fixture
def requested(starter, failed_session, popup) -> list[str]:
    """Three downloads that ann asked for while they are paused. The page after each request."""
    sessions.pause_downloads(popup, "Server move")
    customer = Customer.objects.get(number__isnull=False)
    form = {"database": popup.pk}
    responses = [
        starter.post(f"{failed_session.get_absolute_url()}cancel/", follow=True),
        starter.post(f"/customers/{customer}/resend/", form, follow=True),
        starter.post("/channels/popup/full/", form, follow=True),
    ]
    return [response.content.decode() for response in responses]


def test_a_requested_download_mentions_a_pause(requested):
    for page in requested:
        assert "Once downloads to popup are resumed (paused: Server move), the next one" in page
        assert "The next download" not in page


def test_a_requested_download_records_and_shows_its_user(ann, requested, failed_session, popup):
    failed_session.refresh_from_db()
    popup.refresh_from_db()
    canceled, resent, full = requested

    assert failed_session.changed_by == ann
    assert DownloadException.objects.get().requested_by == ann
    assert popup.started_over_by == ann
    assert "Canceled or sent again by" in canceled
    assert f"by {ann}" in resent
    assert f"asked by {ann}" in full


def test_a_suspended_session_is_shown_where_its_channel_is(boss, houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(strict_order=True)
    refuse_customer(popup, "Bad")
    make_customer(houston, "Bad")
    run("pipeline")
    run(JobCode.DOWNLOAD)
    run(JobCode.DOWNLOAD)
    session = DownloadSession.objects.get(database=popup)
    account = Customer.objects.get(first_name="Bad").account_number

    for page in ("/channels/popup/", "/channels/", "/", f"/trace/{account}/"):
        shown = boss.get(page, follow=True).content.decode()
        assert session.get_absolute_url() in shown, page
    assert "Downloads suspended" in boss.get("/channels/popup/").content.decode()
    assert f"suspended: it refuses {account}." in boss.get("/").content.decode()


@pytest.mark.parametrize("number", ["", "x", "-1", "0", "\u0663", "9" * 19, "9" * 5000], ids=ascii)
def test_a_database_not_named_by_its_id_is_not_found(boss, houston, number):
    run("pipeline")
    account = Customer.objects.get().account_number
    form = {"database": number, "direction": "download", "reason": "Stocktaking."}

    paths = ("/channels/houston/full/", "/channels/houston/pause/", f"/customers/{account}/resend/")

    assert [boss.post(path, form).status_code for path in paths] == [404] * 3
