"""The admin: settings can be changed where that is safe, and what jobs wrote is read-only.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `boss` is a client of an administrator; `people` has Ann with an account, Bo who is
pending, and Cy in quarantine.
"""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client

from stores.jobs import queue
from stores.jobs.stages import waiting_steps
from stores.models import (
    Channel,
    ChannelDatabase,
    Company,
    Customer,
    JobRun,
    Quarantine,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from tests.support.make import lookup, make_customer, run

pytestmark = pytest.mark.slow

COMPANY_FORM = {
    "name": "Retail",
    "payment_tolerance": "0",
    "numbersequence-TOTAL_FORMS": "1",
    "numbersequence-INITIAL_FORMS": "1",
    "numbersequence-0-company": "USRT",
}
admin.autodiscover()
MODELS = [model for model in admin.site._registry if model._meta.app_label == "stores"]
COMPANY_URL = "/admin/stores/company/USRT/change/"


def channel_form(database: ChannelDatabase, **changes: str) -> dict[str, str]:
    """The form of the channel of a database, switched off, with changes."""
    channel = database.channel
    values = {
        "name": channel.name,
        "kind": channel.kind,
        "default_customer": channel.default_customer.account_number,
        "country": "",
        "profile": "",
        "time_zone": channel.time_zone,
        "day_ends_at": "00:00",
        "statement_mode": channel.statement_mode,
        "hold_code": channel.hold_code,
        "databases-TOTAL_FORMS": "1",
        "databases-INITIAL_FORMS": "1",
        "databases-0-id": str(database.pk),
        "databases-0-channel": str(channel.pk),
        "databases-0-group": str(database.group_id),
    }
    return values | changes


def sequence_form(**values: str) -> dict[str, str]:
    """The form of the company with these values of its number sequence."""
    return COMPANY_FORM | {f"numbersequence-0-{name}": value for name, value in values.items()}


def list_url(model: type[Model]) -> str:
    return f"/admin/stores/{model._meta.model_name}/"


def test_the_list_and_the_form_of_every_model_open(boss, people):
    urls = [list_url(model) for model in MODELS]
    for model in MODELS:
        if row := model.objects.first():
            urls.append(f"{list_url(model)}{admin.utils.quote(row.pk)}/change/")

    statuses = {url: boss.get(url).status_code for url in urls}

    assert statuses == dict.fromkeys(urls, 200)


def test_a_customer_cannot_be_changed(boss, people):
    customer = Customer.objects.get(first_name="Ann")

    response = boss.post(f"/admin/stores/customer/{customer.pk}/change/", {"first_name": "Eve"})

    assert response.status_code == 403
    assert Customer.objects.filter(first_name="Ann").exists()


@pytest.mark.parametrize("model", ["channel", "channeldatabase", "customer", "jobrun"])
def test_rows_that_a_command_or_job_creates_cannot_be_added(boss, model):
    assert boss.get(f"/admin/stores/{model}/add/").status_code == 403


def test_the_list_of_channels_names_the_command_that_adds_one(boss, houston):
    assert b"create_channel" in boss.get("/admin/stores/channel/").content


def test_quarantine_shows_no_personal_data(boss, people):
    row = Quarantine.objects.get()
    name_of_cy = "C" * 61

    page = boss.get(f"/admin/stores/quarantine/{row.pk}/change/").content.decode()

    assert "too_long" in page
    assert name_of_cy not in page


def test_a_company_is_added_with_its_number_sequence(boss, hq):
    form = sequence_form(company="", format="N-####", start="100", largest="9999")

    boss.post(
        "/admin/stores/company/add/", form | {"code": "NLRT", "numbersequence-INITIAL_FORMS": "0"}
    )

    sequence = Company.objects.get(code="NLRT").numbersequence
    assert (sequence.format, sequence.next) == ("N-####", 100)


def test_an_unused_sequence_can_start_higher(boss, houston):
    boss.post(COMPANY_URL, sequence_form(format="C-######", start="6001", largest="9999"))

    sequence = Company.objects.get().numbersequence
    assert (sequence.format, sequence.start, sequence.next) == ("C-######", 6001, 6001)


def test_an_unused_sequence_cannot_start_lower(boss, houston):
    form = sequence_form(format="C-######", start="7", largest="9999")

    response = boss.post(COMPANY_URL, form)

    assert response.status_code == 200
    assert Company.objects.get().numbersequence.start == 5001


def test_only_the_largest_number_of_a_used_sequence_can_change(boss, people):
    boss.post(COMPANY_URL, sequence_form(format="X-#", largest="8888"))

    sequence = Company.objects.get().numbersequence
    assert (sequence.format, sequence.largest, sequence.next) == ("00####", 8888, 5002)


@pytest.mark.parametrize("largest", ["5000", "99999", "5", ""])
def test_an_impossible_largest_number_is_refused(boss, people, largest):
    response = boss.post(COMPANY_URL, sequence_form(largest=largest))

    assert response.status_code == 200
    assert Company.objects.get().numbersequence.largest == 9999


def test_an_enabled_channel_gets_the_customers_that_it_missed(boss, houston, popup):
    Channel.objects.filter(code="popup").update(is_enabled=False)
    make_customer(houston)
    run("pipeline")
    assert lookup(popup) == []

    form = channel_form(popup, is_enabled="on", **{"databases-0-is_enabled": "on"})
    boss.post(f"/admin/stores/channel/{popup.channel_id}/change/", form)
    run(JobCode.DOWNLOAD)

    assert lookup(popup) == lookup(houston)


def test_the_default_customer_is_entered_and_shown_as_an_account_number(boss, people, popup):
    ann = Customer.objects.get(first_name="Ann")
    url = f"/admin/stores/channel/{popup.channel_id}/change/"

    boss.post(url, channel_form(popup, default_customer=ann.account_number))
    page = boss.get(url).content.decode()

    assert Channel.objects.get(code="popup").default_customer == ann
    assert f'name="default_customer" value="{ann.account_number}"' in page


@pytest.mark.parametrize("account", ["C-000001", "B-1", "pk"])
def test_a_default_customer_that_the_company_does_not_have_is_refused(boss, popup, account):
    before = popup.channel.default_customer
    other = Company.objects.create(code="NLRT", name="Retail")
    import_account(other, "B-1", name="Bo")
    changes = {"default_customer": str(before.pk) if account == "pk" else account}

    response = boss.post(
        f"/admin/stores/channel/{popup.channel_id}/change/", channel_form(popup, **changes)
    )

    assert response.context["adminform"].form.errors == {
        "default_customer": ["USRT has no customer with this account number."]
    }
    assert Channel.objects.get(code="popup").default_customer == before


def test_an_enabled_database_gets_the_customers_that_it_missed(boss, houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    make_customer(houston)
    run("pipeline")

    form = {"group": str(popup.group_id), "is_enabled": "on"}
    boss.post(f"/admin/stores/channeldatabase/{popup.pk}/change/", form)
    run(JobCode.DOWNLOAD)

    assert lookup(popup) == lookup(houston)


def test_the_action_starts_one_pipeline_for_the_selected_channels(boss, houston, popup):
    action = {"action": "run_pipeline", "_selected_action": [str(popup.channel_id)]}

    boss.post("/admin/stores/channel/", action)
    boss.post("/admin/stores/channel/", action)

    job_run = JobRun.objects.get()
    assert (job_run.scope, job_run.started_by) == ("popup", "admin")
    assert queue.enqueued_steps() == waiting_steps(job_run.pk)


def test_the_action_needs_a_permission(houston):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_channel"))
    client = Client()
    client.force_login(clerk)
    action = {"action": "run_pipeline", "_selected_action": [str(houston.channel_id)]}

    client.post("/admin/stores/channel/", action)

    assert not JobRun.objects.exists()


@pytest.mark.finding(id="S5")
@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        ("quarantine", "raw__regex"),
        ("quarantine", "payload_hash__startswith"),
        ("quarantine", "async_account__startswith"),
        ("quarantine", "account_number"),
        ("quarantine", "settled_because__contains"),
        ("quarantine", "database__url__contains"),
        ("customer", "email__startswith"),
        ("customer", "phone__regex"),
        ("customer", "company__channel__databases__url__startswith"),
        ("guidmap", "customer__email__startswith"),
        ("jobrun", "error__contains"),
        ("jobrun", "requested_by__password__startswith"),
        ("channeldatabase", "url__startswith"),
        ("channel", "default_customer__email__startswith"),
        ("uploadsession", "database__url__startswith"),
    ],
)
def test_a_hidden_value_cannot_be_guessed_letter_by_letter(boss, houston, model, lookup):
    url = f"/admin/stores/{model}/?{lookup}=a"

    assert boss.get(url).status_code == 400
    assert boss.get(f"{url}&id=1").status_code == 400


@pytest.mark.finding(id="S5")
def test_the_filters_of_every_list_work(boss, people):
    statuses = {}
    for model in MODELS:
        page = boss.get(list_url(model)).content.decode()
        links = re.findall(r'href="(\?[^"]+)"', page)
        assert links or not admin.site._registry[model].list_filter
        for link in links:
            url = list_url(model) + link.replace("&amp;", "&")
            statuses[url] = boss.get(url).status_code

    assert statuses
    assert statuses == dict.fromkeys(statuses, 200)
