"""The admin: set-up may be changed where that is safe, what jobs wrote is only read."""

import re

import django_rq
import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client

from stores.models import Channel, ChannelDatabase, Company, Customer, Delivery, JobRun
from tests.support.make import make_customer, run

pytestmark = pytest.mark.slow

SEQUENCE = {
    "name": "Retail",
    "payment_tolerance": "0",
    "numbersequence-TOTAL_FORMS": "1",
    "numbersequence-INITIAL_FORMS": "1",
    "numbersequence-0-company": "USRT",
}
OURS = [model for model in admin.site._registry if model._meta.app_label == "stores"]


def channel_form(database: ChannelDatabase, **changed: str) -> dict[str, str]:
    channel = database.channel
    values = {
        "name": channel.name,
        "kind": channel.kind,
        "default_customer": str(channel.default_customer_id),
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
        "databases-0-url": database.url,
    }
    return values | changed


def test_every_list_and_every_form_is_there(boss, people):
    for model in OURS:
        base = f"/admin/stores/{model._meta.model_name}/"

        assert boss.get(base).status_code == 200, base
        if row := model.objects.first():
            assert boss.get(f"{base}{admin.utils.quote(row.pk)}/change/").status_code == 200, base


def test_what_jobs_wrote_cannot_be_changed(boss, people):
    customer = Customer.objects.get(first_name="Ann")

    answer = boss.post(f"/admin/stores/customer/{customer.pk}/change/", {"first_name": "Eve"})

    assert answer.status_code == 403
    assert Customer.objects.filter(first_name="Ann").exists()


def test_channels_and_customers_are_not_added_here(boss):
    for name in ("channel", "channeldatabase", "customer", "jobrun"):
        assert boss.get(f"/admin/stores/{name}/add/").status_code == 403


def test_the_list_of_channels_names_the_command(boss, houston):
    assert b"create_channel" in boss.get("/admin/stores/channel/").content


def test_quarantine_shows_no_personal_data(boss, people):
    row = "/admin/stores/quarantine/1/change/"
    path = boss.get("/admin/stores/quarantine/").context["cl"].result_list[0].pk

    page = boss.get(row.replace("/1/", f"/{path}/")).content.decode()

    assert "C" * 61 not in page


def test_a_company_is_added_with_its_sequence(boss, hq):
    boss.post(
        "/admin/stores/company/add/",
        SEQUENCE
        | {
            "code": "NLRT",
            "numbersequence-INITIAL_FORMS": "0",
            "numbersequence-0-company": "",
            "numbersequence-0-format": "N-####",
            "numbersequence-0-start": "100",
            "numbersequence-0-largest": "9999",
        },
    )

    sequence = Company.objects.get(code="NLRT").numbersequence
    assert (sequence.format, sequence.next) == ("N-####", 100)


def test_an_unused_sequence_may_start_higher_but_not_lower(boss, houston):
    form = {
        "numbersequence-0-format": "C-######",
        "numbersequence-0-start": "7",
        "numbersequence-0-largest": "9999",
    }
    assert boss.post("/admin/stores/company/USRT/change/", SEQUENCE | form).status_code == 200
    form["numbersequence-0-start"] = "6001"
    boss.post("/admin/stores/company/USRT/change/", SEQUENCE | form)

    sequence = Company.objects.get().numbersequence
    assert (sequence.format, sequence.start, sequence.next) == ("C-######", 6001, 6001)


def test_of_a_used_sequence_only_the_largest_number_changes(boss, people):
    form = {"numbersequence-0-format": "X-#", "numbersequence-0-largest": "8888"}
    boss.post("/admin/stores/company/USRT/change/", SEQUENCE | form)

    sequence = Company.objects.get().numbersequence
    assert (sequence.format, sequence.largest, sequence.next) == ("00####", 8888, 5002)


def test_a_largest_number_that_cannot_be_is_refused(boss, people):
    for largest in ("5000", "99999", "5", ""):
        form = SEQUENCE | {"numbersequence-0-largest": largest}

        answer = boss.post("/admin/stores/company/USRT/change/", form)

        assert answer.status_code == 200
        assert Company.objects.get().numbersequence.largest == 9999


def test_switching_a_channel_on_owes_it_what_it_missed(boss, houston, popup):
    Channel.objects.filter(code="popup").update(is_enabled=False)
    make_customer(houston)
    run("pipeline")
    assert not Delivery.objects.filter(database=popup).exists()

    form = channel_form(popup, is_enabled="on", **{"databases-0-is_enabled": "on"})
    boss.post(f"/admin/stores/channel/{popup.channel_id}/change/", form)

    assert Delivery.objects.owed().filter(database=popup).count() == 1


def test_switching_a_database_on_owes_it_what_it_missed(boss, houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(is_enabled=False)
    make_customer(houston)
    run("pipeline")

    form = {"group": str(popup.group_id), "url": popup.url, "is_enabled": "on"}
    boss.post(f"/admin/stores/channeldatabase/{popup.pk}/change/", form)

    assert Delivery.objects.owed().filter(database=popup).count() == 1


def test_the_action_runs_the_pipeline_for_the_chosen_channels(boss, houston, popup):
    chosen = {"action": "run_pipeline", "_selected_action": [str(popup.channel_id)]}

    for _ in range(2):
        boss.post("/admin/stores/channel/", chosen)

    started = JobRun.objects.get()
    assert (started.scope, started.started_by) == ("popup", "admin")
    assert django_rq.get_queue("default").job_ids == [str(started.pk)]


def test_the_action_needs_the_permission(houston):
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_channel"))
    client = Client()
    client.force_login(clerk)

    client.post(
        "/admin/stores/channel/",
        {"action": "run_pipeline", "_selected_action": [str(houston.channel_id)]},
    )

    assert not JobRun.objects.exists()


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
def test_s5_what_a_list_hides_cannot_be_probed_letter_by_letter(boss, houston, model, lookup):
    for more in ("", "&id=1"):
        path = f"/admin/stores/{model}/?{lookup}=a{more}"
        assert boss.get(path).status_code == 400, path


def test_s5_the_filters_of_every_list_still_work(boss, people):
    for model in OURS:
        path = f"/admin/stores/{model._meta.model_name}/"
        links = re.findall(r'href="(\?[^"]+)"', boss.get(path).content.decode())
        filters = {link.replace("&amp;", "&") for link in links}
        assert {link for link in filters if boss.get(path + link).status_code != 200} == set()
        assert filters or not admin.site._registry[model].list_filter
