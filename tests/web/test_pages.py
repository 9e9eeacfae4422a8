"""Every page: closed to strangers, whole for people, a part of it for htmx."""

import re

import pytest
from django.urls import URLPattern, get_resolver
from django.urls.converters import IntConverter

from stores import urls
from stores.models import Channel, ChannelDatabase, Company, Customer, JobRun, NumberSequence
from stores.pipeline.convert.accounts import import_account
from tests.support.make import make_customer, run
from tests.support.pages import LISTS, SALES

OTHERS = ["/conflicts/", *SALES]
PLAIN = [
    "/",
    "/trace/",
    "/jobs/",
    "/schedules/",
    "/promises/",
    "/end-of-day/",
    "/transactions/failed/",
]
OPEN_TO_ALL = {"sign-in", "sign-in-link", "healthz"}
EXAMPLES = {"ref": "C-1", "account": "C-1", "code": "houston", "token": "x", "number": 1}


def address(route: URLPattern) -> str:
    """An address that the route answers."""
    kwargs: dict[str, object] = {
        name: 1
        if isinstance(converter, IntConverter)
        else EXAMPLES.get(name, "0" * 8 + "-0000-4000-8000-" + "0" * 12)
        for name, converter in route.pattern.converters.items()
    }
    return get_resolver().reverse(route.name, **kwargs)


def test_strangers_are_led_to_the_sign_in(hq, client):
    for route in urls.urlpatterns:
        path = "/" + address(route).lstrip("/")
        if route.name not in OPEN_TO_ALL:
            for answer in (client.get(path), client.post(path)):
                assert answer.status_code == 302, path
                assert answer["Location"].startswith("/sign-in/")


def test_healthz_asks_nobody(client):
    answer = client.get("/healthz")

    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_pages_are_there_without_any_customer(reader, houston):
    for path in (*PLAIN, *LISTS.values(), *OTHERS, "/channels/houston/"):
        assert reader.get(path).status_code == 200, path


def test_pages_are_there_before_the_first_channel(reader):
    for path in (*PLAIN, *LISTS.values(), *OTHERS):
        answer = reader.get(path)

        assert answer.status_code == 200, path
        if path not in PLAIN:
            assert answer.context["table"].empty_text in answer.content.decode()


def test_htmx_gets_only_the_list(reader, people):
    for path in LISTS.values():
        whole, part = reader.get(path), reader.get(path, headers={"HX-Request": "true"})

        assert b"<html" in whole.content
        assert b"<html" not in part.content
        assert part.content.decode().lstrip().startswith('<section id="list"')
        assert "HX-Request" in part["Vary"]


@pytest.mark.slow
def test_no_page_holds_a_script_style_or_handler_of_its_own(reader, people):
    for path in (*PLAIN, *LISTS.values(), "/channels/houston/", f"/trace/{people['Ann']}/"):
        page = reader.get(path).content.decode()

        assert "<style" not in page
        assert " style=" not in page
        assert "<script>" not in page
        assert not re.search(r"<[^>]* on[a-z]+=", page)


def test_a_customer_shows_all_that_belongs_to_it(reader, people):
    account = Customer.objects.get(first_name="Ann").account_number

    page = reader.get(f"/customers/{account}/").content.decode()

    for shown in ("ann@example.com", str(people["Ann"]), "Main Street", "SIZE", "popup"):
        assert shown in page


def test_an_account_of_two_companies_is_a_choice(reader, houston):
    other = Company.objects.create(code="NLRT", name="Other")
    NumberSequence.objects.create(company=other, format="##", start=1, next=1, largest=99)
    import_account(other, "X/1", name="Bo", deliver=False)
    import_account(houston.channel.company, "X/1", name="Ann", deliver=False)

    choice = reader.get("/customers/X/1/").content.decode()

    assert "?company=NLRT" in choice
    assert "Bo" in reader.get("/customers/X/1/?company=NLRT").content.decode()


NOWHERE = [
    "/customers/nobody/",
    "/customers/a%00b/",
    "/trace/nobody/",
    "/trace/a%00b/",
    "/trace/?ref=nobody",
    "/channels/nowhere/",
    "/nowhere/",
    "/runs/00000000-0000-4000-8000-000000000000/",
]


def test_what_is_not_there_is_404(reader):
    for path in NOWHERE:
        answer = reader.get(path)

        assert answer.status_code == 404, path
        assert b"Syncline" in answer.content


def test_searching_one_customer_leads_to_the_trace_by_guid(reader, people):
    answer = reader.get("/trace/", {"ref": "ann@example.com"})

    assert answer["Location"] == f"/trace/{people['Ann']}/"


def test_searching_several_customers_lists_them(reader, houston):
    for name in ("Ann", "Bo"):
        make_customer(houston, name, email="both@example.com")
    run("pipeline")

    answer = reader.get("/trace/", {"ref": "both@example.com"})

    assert len(answer.context["found"]) == 2


def test_a_trace_has_a_tick_for_each_channel_and_links(reader, people):
    page = reader.get(f"/trace/{people['Ann']}/").content.decode()

    assert page.count('class="has-it"') == 2
    assert f"/runs/{JobRun.objects.filter(job='pipeline').get().pk}/" in page


def test_a_pending_customer_says_what_it_waits_for(reader, people):
    page = reader.get(f"/trace/{people['Bo']}/").content.decode()

    assert "Pending sync" in page
    assert "has-it" not in page


def test_no_page_shows_what_a_quarantined_row_held(reader, people):
    assert "C" * 61 not in reader.get("/quarantine/").content.decode()
    assert "C" * 61 not in reader.get("/quarantine/?_export=csv").getvalue().decode()


@pytest.mark.slow
def test_the_counts_of_the_overview_are_the_lengths_of_their_lists(reader, people):
    ring = reader.get("/").context["stations"]

    for name in ("not_synchronized", "waiting", "failed", "quarantined", "customers", "pending"):
        tally = ring[name]
        assert tally.count == reader.get(tally.url).context["table"].paginator.count, name
    assert (ring["not_synchronized"].count, ring["quarantined"].count) == (1, 1)


def test_the_counts_of_what_needs_a_person_are_the_lengths_of_their_lists(reader, people):
    concerns = [one for one in reader.get("/").context["alerts"] if one.count is not None]

    assert concerns
    for concern in concerns:
        assert concern.count == reader.get(concern.url).context["table"].paginator.count


def test_each_entry_of_the_menu_has_an_icon_of_its_own(boss):
    page = boss.get("/").content.decode()
    menu = page[page.index('<nav aria-label="Main"') : page.index("</nav>")]

    icons = re.findall(r"#([a-z0-9-]+)", menu)
    assert len(icons) == len(set(icons)) == menu.count("<li>")


def test_a_silent_channel_needs_a_person(reader, houston):
    ChannelDatabase.objects.update(last_error="Channel houston cannot be reached.")

    texts = [one.text for one in reader.get("/").context["alerts"]]

    assert texts[-1] == "Channel houston cannot be reached."
    Channel.objects.update(is_enabled=False)
    assert not reader.get("/").context["alerts"]


def test_counts_of_the_channel_page_are_the_lengths_of_their_lists(reader, people):
    context = reader.get("/channels/popup/").context

    lists = {"sent": "", "open": "&state=open"}
    for name, more in lists.items():
        found = reader.get(f"/async-customers/?channel=popup{more}")
        assert context[name] == found.context["table"].paginator.count == 1
