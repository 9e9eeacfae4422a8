"""Administrators add channels and registers on pages, test connections and change addresses.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `boss` is a client
in which an administrator is signed in; `back_up` backs up a channel database.
"""

import io
import logging

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

from stores.channeldb.connect.secrets import decrypt, encrypt
from stores.channeldb.connect.url import sqlite_path
from stores.models import (
    Channel,
    ChannelDatabase,
    Company,
    FunctionalityProfile,
    Incident,
)
from stores.models.incident import IncidentKind
from stores.pipeline import register
from stores.pipeline.convert.accounts import import_account
from tests.support.channels import on_server
from tests.support.concurrency import other_session
from tests.support.databases import drop_database
from tests.support.make import lookup, make_customer, query, run

CANARY = "hunter2 Kanary/@:"  # A password with what has a meaning in URLs.
AUSTIN = {
    "code": "austin",
    "name": "Austin",
    "kind": "store",
    "company": "USRT",
    "time_zone": "America/Chicago",
    "country": "USA",
    "group": "South",
}
EMBEDDED = AUSTIN | {"address_form": "embedded"}
FILE = AUSTIN | {"address_form": "file", "file": "channels/austin.sqlite3"}
SERVER = AUSTIN | {
    "address_form": "server",
    "host": "localhost",
    "port": "1",
    "database": "ch_austin",
    "user": "syncline",
    "password_in": "stored",
    "password": CANARY,
}


@pytest.fixture
def key(settings):
    """A key for stored passwords."""
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]


@pytest.fixture(autouse=True)
def _austin_removed(hq):
    yield
    drop_database("ch_austin")
    for path in ChannelDatabase.objects.filter(url__contains="austin.sqlite3"):
        sqlite_path(path).unlink(missing_ok=True)


def post(boss, form, action="save", path="/channels/add/", **headers):
    return boss.post(path, form | {"action": action}, follow=not headers, headers=headers)


def steps(response) -> dict[str, str]:
    return {name: step.outcome for name, step in response.context["test"].steps.items()}


def test_a_channel_is_added_and_receives_the_customers_of_its_company(boss, houston):
    make_customer(houston, "Ann")
    run("pipeline")

    page = post(boss, EMBEDDED).content.decode()
    run("pipeline")

    austin = ChannelDatabase.objects.with_channel().get(channel__code="austin")
    assert "Channel austin is added." in page
    assert (austin.channel.time_zone, austin.group.name) == ("America/Chicago", "South")
    assert lookup(austin) == lookup(houston)


def test_a_channel_is_added_with_a_profile_and_a_default_customer(boss, houston):
    profile = FunctionalityProfile.objects.create(code="outlet")
    ann = import_account(houston.channel.company, "A-1", name="Ann")

    post(boss, FILE | {"profile": str(profile.pk), "default_customer": "A-1"})

    austin = Channel.objects.get(code="austin")
    assert (austin.profile, austin.default_customer) == (profile, ann)


@pytest.mark.parametrize("account", ["A-2", "B-1", "1"])
def test_a_default_customer_is_an_account_of_the_company(boss, houston, account):
    other = Company.objects.create(code="NLRT", name="Retail")
    import_account(other, "B-1", name="Bo")

    response = post(boss, FILE | {"default_customer": account})

    assert response.context["form"].errors["default_customer"] == [
        "USRT has no customer with this account number."
    ]
    assert Channel.objects.count() == 1


@pytest.mark.parametrize("form", [EMBEDDED, FILE], ids=["embedded", "file"])
def test_a_test_of_the_connection_changes_nothing(boss, houston, form):
    response = post(boss, form, "test")

    assert response.context["test"].is_passed
    assert steps(response)["database"] == "pending"
    assert "Adding it makes it." in response.content.decode()
    assert Channel.objects.count() == 1
    assert not on_server("SELECT FROM pg_database WHERE datname = 'ch_austin'")


def test_htmx_receives_the_result_of_a_test_alone(boss, houston):
    response = post(boss, EMBEDDED, "test", **{"HX-Request": "true"})

    page = response.content.decode()
    assert "The connection works." in page
    assert "<html" not in page


@pytest.mark.parametrize("action", ["test", "save"])
def test_the_step_that_fails_is_named_and_nothing_is_added(boss, houston, key, action):
    page = post(boss, SERVER, action).content.decode()

    assert "nothing listens on the port of its server" in page
    assert not Channel.objects.filter(code="austin").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"code": "houston"}, "There is a channel with this code already."),
        ({"code": "add"}, "A channel cannot have the code add."),
        ({"code": "a b"}, "Letters, digits, - and _ only."),
        ({"country": "XX"}, "Not a country of ISO 3166-1"),
        ({"file": "../outside.sqlite3"}, "sqlite:/// needs a plain path"),
        ({"file": ""}, "This field is required."),
        ({"address_form": "reference", "reference": "postgresql://a:b@c/d"}, "Enter file:NAME"),
        ({"address_form": "reference", "reference": "file:nowhere"}, "SYNCLINE_SECRETS_DIR"),
        ({"address_form": "moon"}, "Select a valid choice."),
        ({"till_role": "till"}, "is a SQLite file, which has no roles"),
    ],
    ids=[
        *("known code", "reserved code", "wrong code", "country", "path outside", "no path"),
        *("address for a reference", "missing reference", "unknown kind", "role"),
    ],
)
def test_a_wrong_value_is_one_sentence(boss, houston, changes, sentence):
    response = post(boss, FILE | changes)

    assert response.status_code == 200
    assert sentence in response.content.decode().replace("&gt;", ">")
    assert Channel.objects.count() == 1


def test_a_file_that_another_channel_has_is_refused(boss, popup):
    path = popup.url.removeprefix("sqlite:///")

    page = post(boss, FILE | {"file": path}, "test").content.decode()

    assert "It belongs to channel popup already." in page
    assert 'name="renew_identity"' not in page


def test_a_copy_is_added_with_an_identity_of_its_own_if_asked(boss, popup, back_up):
    copy = FILE | {"file": f"channels/{back_up(popup).file.name}"}

    refused = post(boss, copy)
    offered = post(boss, copy, "test")
    tested = post(boss, copy | {"renew_identity": "on"}, "test")
    added = post(boss, copy | {"renew_identity": "on"})

    assert "its database is that of channel popup, or a copy of it." in refused.content.decode()
    assert b'name="renew_identity"' in refused.content
    assert b'name="renew_identity"' in offered.content
    assert steps(tested)["owner"] == "pending"
    assert b"Channel austin is added." in added.content


def test_a_database_that_another_headquarters_visits_is_refused(boss, houston, popup):
    run("pipeline")
    make_customer(popup, "Ann")
    run("pipeline")
    path = popup.url.removeprefix("sqlite:///")
    # This headquarters never knew the database.
    other_path = sqlite_path(popup)
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        url="sqlite:///channels/elsewhere.sqlite3", database_id="0" * 31 + "1"
    )

    response = post(boss, FILE | {"file": path}, "test")

    assert steps(response)["owner"] == "failed"
    assert b"belongs to another headquarters" in response.content
    assert other_path.exists()
    ChannelDatabase.objects.filter(pk=popup.pk).update(url=popup.url)


def test_one_connection_is_tested_at_a_time(boss, houston):
    with other_session() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('connection-test', 0))")
        page = post(boss, EMBEDDED, "test").content.decode()

    assert "Another connection is being tested." in page
    assert post(boss, EMBEDDED, "test").context["test"].is_passed


# ------------------------------------------------------------------------------------ secrets


@pytest.fixture
def saved_server(houston, key) -> ChannelDatabase:
    """Houston's database with an address on a server, and the stored password."""
    secret = encrypt(CANARY)
    ChannelDatabase.objects.update(url="postgresql://shop@localhost:1/ch", secret=secret)
    return ChannelDatabase.objects.get()


def test_a_password_is_stored_encrypted(boss, houston, key, monkeypatch):
    # There is no server with passwords here.
    monkeypatch.setattr(register, "prepare_database", lambda *args, **options: None)

    post(boss, SERVER)

    austin = ChannelDatabase.objects.get(channel__code="austin")
    assert austin.url == "postgresql://syncline@localhost:1/ch_austin"
    assert CANARY not in austin.secret
    assert decrypt(austin.secret) == CANARY


def test_a_password_is_on_no_page_and_in_no_log(boss, saved_server, key, caplog):
    caplog.set_level(logging.DEBUG)
    pk = saved_server.pk
    pages = [
        post(boss, SERVER, "test").content,
        post(boss, SERVER).content,
        post(boss, SERVER | {"code": "a b"}).content,
        post(boss, SERVER, path=f"/channels/houston/databases/{pk}/address/").content,
        boss.get(f"/channels/houston/databases/{pk}/address/").content,
        boss.get("/channels/houston/").content,
        boss.get(f"/admin/stores/channeldatabase/{pk}/change/").content,
        boss.get(f"/admin/stores/channel/{saved_server.channel_id}/change/").content,
        boss.get("/channels/?_export=csv").getvalue(),
    ]
    output = io.StringIO()
    call_command("channels", "--json", stdout=output)
    run("pipeline")
    pages.append(boss.get("/").content)

    everything = b"".join(pages).decode() + output.getvalue() + caplog.text
    assert "Kanary" not in everything
    assert saved_server.secret.removeprefix("fernet:") not in everything


def test_the_key_of_the_data_folder_lets_a_password_be_entered(boss, houston, settings, tmp_path):
    settings.SECRETS_KEYS, settings.SECRETS_KEY_FILE = [], tmp_path / "secrets.key"
    settings.SECRETS_KEY_FILE.write_bytes(Fernet.generate_key())

    page = boss.get("/channels/add/").content.decode()

    assert 'type="password"' in page
    assert '<option value="stored" selected>' in page


@pytest.mark.parametrize(
    ("variable", "selected"), [("CHANNEL_DSN_AUSTIN", "elsewhere"), ("OTHER", "none")]
)
def test_without_a_key_no_password_can_be_stored(
    boss, houston, settings, monkeypatch, variable, selected
):
    settings.SECRETS_KEYS, settings.SECRETS_KEY_FILE = [], None
    monkeypatch.setenv(variable, CANARY)

    page = boss.get("/channels/add/").content.decode()
    response = post(boss, SERVER)

    assert 'type="password"' not in page
    assert f'<option value="{selected}" selected>' in page
    assert (
        "To enter a password here, an administrator must set SYNCLINE_SECRETS_KEY, and"
        " SYNCLINE_SECRETS_DIR for one in a file."
    ) in page
    assert "Select a valid choice. stored is not one of the available choices." in (
        response.content.decode()
    )
    assert not Channel.objects.filter(code="austin").exists()


def test_an_older_password_within_an_address_is_not_shown(boss, houston):
    ChannelDatabase.objects.update(url="postgresql://shop:Kanary%40@localhost:1/ch")

    pages = [
        boss.get(f"/admin/stores/channeldatabase/{houston.pk}/change/").content.decode(),
        boss.get(f"/channels/houston/databases/{houston.pk}/address/").content.decode(),
    ]

    assert all("Kanary" not in page for page in pages)
    assert "postgresql://shop@localhost:1/ch" in pages[0]


# ------------------------------------------------------------------------ registers, addresses


def test_a_register_is_added_to_a_channel(boss, houston):
    make_customer(houston, "Ann")
    run("pipeline")
    form = {"register": "till-1", "group": "Default", "address_form": "embedded"}

    page = post(boss, form, path="/channels/houston/databases/add/").content.decode()
    run("pipeline")

    till = ChannelDatabase.objects.with_channel().get(name="till-1")
    assert "The database houston/till-1 is added." in page
    assert lookup(till) == lookup(houston)
    drop_database("ch_houston_till_1")


def test_a_changed_address_counts_from_the_next_visit_on(boss, popup):
    make_customer(popup, "Ann")
    path = sqlite_path(popup)
    moved = path.rename(path.with_name("moved.sqlite3"))
    url = f"/channels/popup/databases/{popup.pk}/address/"

    form = {"address_form": "file", "file": "channels/moved.sqlite3"}
    page = post(boss, form, path=url).content.decode()
    result = run("pipeline")

    assert "popup is visited at its new address from now on." in page
    assert result["counts"]["converted"] == 1
    moved.rename(path)
    ChannelDatabase.objects.filter(pk=popup.pk).update(url=popup.url)


def test_an_address_of_a_database_that_does_not_work_is_not_saved(boss, popup):
    url = f"/channels/popup/databases/{popup.pk}/address/"
    form = {"address_form": "server", "host": "localhost", "port": "1", "database": "ch"}
    form |= {"user": "shop", "password_in": "none"}

    page = post(boss, form, path=url).content.decode()

    assert "nothing listens" in page
    assert ChannelDatabase.objects.get(pk=popup.pk).url == popup.url


@pytest.mark.parametrize("action", ["test", "save"])
def test_a_file_that_is_not_there_is_no_address_of_a_registered_database(boss, popup, action):
    url = f"/channels/popup/databases/{popup.pk}/address/"
    form = {"address_form": "file", "file": "channels/nothing.sqlite3"}

    page = post(boss, form, action, url).content.decode()

    assert "Channel popup: there is no such file." in page
    assert not sqlite_path(popup).with_name("nothing.sqlite3").exists()
    assert ChannelDatabase.objects.get(pk=popup.pk).url == popup.url


def test_the_right_address_closes_the_incident_of_a_wrong_one(boss, popup):
    make_customer(popup, "Ann")
    path = sqlite_path(popup)
    wrong = path.with_name("wrong.sqlite3")
    wrong.touch()
    url = f"/channels/popup/databases/{popup.pk}/address/"

    post(boss, {"address_form": "file", "file": "channels/wrong.sqlite3"}, path=url)
    run("pipeline")
    blocked = Incident.objects.open().get()
    run("pipeline")
    post(boss, {"address_form": "file", "file": f"channels/{path.name}"}, path=url)
    page = boss.get("/channels/popup/").content.decode()
    result = run("pipeline")

    assert blocked.kind == IncidentKind.WRONG_DATABASE
    assert not Incident.objects.open().exists()
    assert "is blocked until" not in page
    assert result["counts"]["converted"] == 1
    wrong.unlink()


def test_the_form_of_an_address_shows_its_parts(boss, houston):
    ChannelDatabase.objects.update(
        url="postgresql://shop@[::1]:5433/ch%20x?sslmode=disable",
        secret="file:houston",  # noqa: S106 - where the secret is
    )

    page = boss.get(f"/channels/houston/databases/{houston.pk}/address/").content.decode()

    for value in ("::1", "5433", "ch x", "shop", "file:houston"):
        assert f'value="{value}"' in page


def test_a_running_worker_sees_what_was_added(boss, houston):
    # Nothing of a channel outlives a visit: a run in this process, before and after.
    run("pipeline")
    post(boss, EMBEDDED)
    austin = ChannelDatabase.objects.with_channel().get(channel__code="austin")
    make_customer(austin, "Ann")

    assert run("pipeline")["counts"]["converted"] == 1
    assert query(austin, "SELECT count(*) FROM account_map")[0][0] == 1
