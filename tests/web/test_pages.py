"""Every page needs a signed-in user, works without data, and serves its list alone to htmx.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `starter` is a client of a user who may start jobs; `boss` is a client of an
administrator; `people` has Ann with an account, Bo who is pending, and Cy in quarantine.
"""

import re

import pytest
from django.urls import URLPattern, get_resolver
from django.urls.converters import IntConverter

from stores.messages.message import Message
from stores.models import Channel, ChannelDatabase, Company, Customer, JobRun, NumberSequence
from stores.pipeline.convert.accounts import import_account
from stores.urls import urlpatterns
from tests.support.make import make_customer, run
from tests.support.pages import LISTS, SALES, text_of

LIST_URLS = [*LISTS.values(), "/conflicts/", *SALES]
PAGE_URLS = [
    "/",
    "/trace/",
    "/jobs/",
    "/schedules/",
    "/promises/",
    "/end-of-day/",
    "/transactions/failed/",
]
# These need no signed-in user.
PUBLIC = {"sign-in", "sign-in-link", "healthz"}
UNKNOWN_UUID = "00000000-0000-4000-8000-000000000000"
URL_ARGUMENTS = {"ref": "C-1", "account": "C-1", "code": "houston", "token": "x"}


def url_of(pattern: URLPattern) -> str:
    """A URL of this pattern, with example arguments."""
    arguments: dict[str, object] = {}
    for name, converter in pattern.pattern.converters.items():
        default = 1 if isinstance(converter, IntConverter) else UNKNOWN_UUID
        arguments[name] = URL_ARGUMENTS.get(name, default)
    return "/" + get_resolver().reverse(pattern.name, **arguments).lstrip("/")


@pytest.mark.parametrize(
    "pattern",
    [pattern for pattern in urlpatterns if pattern.name not in PUBLIC],
    ids=lambda pattern: pattern.name,
)
def test_an_anonymous_user_is_redirected_to_the_sign_in_page(hq, client, pattern):
    for method in (client.get, client.post):
        response = method(url_of(pattern))

        assert response.status_code == 302
        assert response["Location"].startswith("/sign-in/")


def test_healthz_needs_no_user(client):
    response = client.get("/healthz")

    assert (response.status_code, response.content) == (200, b"ok\n")


def test_pages_open_without_customers(reader, houston):
    urls = [*PAGE_URLS, *LIST_URLS, "/channels/houston/"]

    statuses = {url: reader.get(url).status_code for url in urls}

    assert statuses == dict.fromkeys(urls, 200)


def test_pages_open_without_channels(reader):
    statuses = {url: reader.get(url).status_code for url in PAGE_URLS}

    assert statuses == dict.fromkeys(PAGE_URLS, 200)


def test_an_empty_list_says_that_it_is_empty(reader):
    for url in LIST_URLS:
        response = reader.get(url)

        assert response.status_code == 200, url
        assert response.context["table"].empty_text in response.content.decode(), url


def test_htmx_gets_only_the_list(reader, people):
    for url in LISTS.values():
        page = reader.get(url)
        part = reader.get(url, headers={"HX-Request": "true"})

        assert "<html" in page.content.decode()
        assert "<html" not in part.content.decode()
        assert part.content.decode().lstrip().startswith('<section id="list"')
        assert "HX-Request" in part["Vary"]


@pytest.mark.slow
def test_no_page_has_inline_scripts_styles_or_event_handlers(reader, people):
    urls = [*PAGE_URLS, *LISTS.values(), "/channels/houston/", f"/trace/{people['Ann']}/"]
    inline = re.compile(r"<style|<script>| style=|<[^>]* on[a-z]+=")

    for url in urls:
        page = reader.get(url).content.decode()
        assert "<html" in page, url
        assert inline.findall(page) == [], url


def test_a_customer_s_page_shows_contacts_addresses_attributes_and_channels(reader, people):
    account = Customer.objects.get(first_name="Ann").account_number

    page = reader.get(f"/customers/{account}/").content.decode()

    for text in ("ann@example.com", str(people["Ann"]), "Main Street", "SIZE", "popup"):
        assert text in page


def test_an_account_number_of_two_companies_asks_which_company(reader, houston):
    other = Company.objects.create(code="NLRT", name="Other")
    NumberSequence.objects.create(company=other, format="##", start=1, next=1, largest=99)
    import_account(other, "X/1", name="Bo", deliver=False)
    import_account(houston.channel.company, "X/1", name="Ann", deliver=False)

    choice = reader.get("/customers/X/1/").content.decode()
    customer = reader.get("/customers/X/1/?company=NLRT").content.decode()

    assert "?company=NLRT" in choice
    assert "Bo" in customer


@pytest.mark.parametrize(
    "url",
    [
        "/customers/nobody/",
        "/customers/a%00b/",
        "/trace/nobody/",
        "/trace/a%00b/",
        "/trace/?ref=nobody",
        "/channels/nowhere/",
        "/nowhere/",
        f"/runs/{UNKNOWN_UUID}/",
    ],
)
def test_an_unknown_url_gets_the_404_page(reader, url):
    response = reader.get(url)

    assert response.status_code == 404
    assert "Syncline" in response.content.decode()


def test_searching_for_one_customer_redirects_to_its_trace(reader, people):
    response = reader.get("/trace/", {"ref": "ann@example.com"})

    assert response["Location"] == f"/trace/{people['Ann']}/"


def test_searching_for_several_customers_lists_them(reader, houston):
    for name in ("Ann", "Bo"):
        make_customer(houston, name, email="both@example.com")
    run("pipeline")

    response = reader.get("/trace/", {"ref": "both@example.com"})

    assert len(response.context["found"]) == 2


def test_a_trace_shows_the_name(reader, people):
    assert "<bdi>Ann Lee</bdi>" in text_of(reader.get(f"/trace/{people['Ann']}/"))
    assert "<bdi>Bo Lee</bdi>" in text_of(reader.get(f"/trace/{people['Bo']}/"))
    assert "CCC" not in text_of(reader.get(f"/trace/{people['Cy']}/"))


def test_customers_that_match_are_told_apart_by_their_names(reader, houston):
    for first_name in ("Ann", "Bo"):
        make_customer(houston, first_name, email="both@example.com")
    run("pipeline")

    page = text_of(reader.get("/trace/", {"ref": "both@example.com"}))

    assert "<bdi>Ann Lee</bdi>" in page
    assert "<bdi>Bo Lee</bdi>" in page


def test_a_search_without_a_match_leads_to_the_search_by_name(reader, people):
    page = reader.get("/trace/", {"ref": "Lee & Sons"}).content.decode()

    assert 'href="/customers/?q=Lee%20%26%20Sons"' in page
    assert 'href="/async-customers/?q=Lee%20%26%20Sons"' in page
    assert "trace &#x27;Lee &amp; Sons&#x27; --look-in-channels" in page


def test_a_trace_marks_each_channel_that_has_the_customer(reader, people):
    job_run = JobRun.objects.get(job="pipeline")

    page = reader.get(f"/trace/{people['Ann']}/").content.decode()

    assert page.count('class="has-it"') == 2
    assert f"/runs/{job_run.pk}/" in page


def test_the_trace_of_a_pending_customer_says_so(reader, people):
    page = reader.get(f"/trace/{people['Bo']}/").content.decode()

    assert "Pending sync" in page
    assert "has-it" not in page


def test_the_quarantine_list_shows_no_value_of_a_row(reader, people):
    name_of_cy = "C" * 61

    for url in ("/quarantine/", "/quarantine/?_export=csv"):
        text = text_of(reader.get(url))
        assert "async_customer" in text
        assert name_of_cy not in text


@pytest.mark.slow
def test_each_count_on_the_overview_is_its_list_s_length(reader, people):
    ring = reader.get("/").context["stations"]

    for name in ("not_synchronized", "waiting", "failed", "quarantined", "customers", "pending"):
        rows = reader.get(ring[name].url).context["table"].paginator.count
        assert ring[name].count == rows, name
    assert (ring["not_synchronized"].count, ring["quarantined"].count) == (1, 1)


def test_each_count_needing_attention_is_its_list_s_length(reader, people):
    alerts = [alert for alert in reader.get("/").context["alerts"] if alert.count is not None]

    assert alerts
    for alert in alerts:
        assert alert.count == reader.get(alert.url).context["table"].paginator.count


def test_each_count_of_a_channel_is_its_list_s_length(reader, people):
    context = reader.get("/channels/popup/").context

    operations = reader.get("/async-customers/?channel=popup").context["table"].paginator
    unfinished = reader.get("/async-customers/?channel=popup&state=open").context["table"].paginator
    assert context["operation_count"] == operations.count == 1
    assert context["unfinished_count"] == unfinished.count == 1


def test_each_menu_entry_has_an_icon_of_its_own(boss):
    page = boss.get("/").content.decode()
    menu = page[page.index('<nav aria-label="Main"') : page.index("</nav>")]

    icons = re.findall(r"#([a-z0-9-]+)", menu)
    assert len(icons) == len(set(icons)) == menu.count("<li>")


def test_an_unreachable_channel_needs_attention_while_it_is_enabled(starter, houston):
    ChannelDatabase.objects.update(last_error=Message("channel_unreachable", channel="houston"))

    alerts = starter.get("/").context["alerts"]
    Channel.objects.update(is_enabled=False)
    alerts_when_disabled = starter.get("/").context["alerts"]

    assert alerts[-1].text == "Channel houston cannot be reached."
    assert not alerts_when_disabled
