"""axe finds no fault on any page, in light and dark, and no page scrolls sideways on a phone.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite.
"""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from stores.messages.message import Message
from stores.models import (
    ChannelDatabase,
    Customer,
    EditConflict,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

PHONE = {"width": 360, "height": 740}
PAGES = [
    "/",
    "/trace/",
    "/async-customers/",
    "/async-customers/?state=nonsense",
    "/customers/",
    "/quarantine/",
    "/jobs/",
    "/runs/",
    "/sessions/uploads/",
    "/sessions/downloads/",
    "/channels/",
    "/channels/houston/",
]
LISTS = {*PAGES, "/conflicts/", "/transactions/", "/orders/", "/statements/"}
ADMIN_PAGES = [
    "/admin/",
    "/admin/stores/channel/",
    "/admin/stores/company/USRT/change/",
    "/admin/stores/customer/",
    "/admin/auth/user/",
]


@pytest.fixture
def customer_pages(houston: ChannelDatabase, popup: ChannelDatabase) -> list[str]:
    """Pages of customers and a run: Ann is delivered, Bo pending, Cy quarantined."""
    ann = make_customer(houston, "Ann", email="ann@example.com")
    make_event("address", houston, async_account=ann)
    make_event("contact", houston, async_account=ann)
    pipeline = run("pipeline")
    bo = make_customer(popup, "Bo")
    make_customer(popup, "C" * 61)
    run(JobCode.UPLOAD)
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        last_error=Message("quoted", text="Channel popup does not answer.")
    )
    account = Customer.objects.get(first_name="Ann").account_number
    return [
        f"/customers/{account}/",
        f"/trace/{ann}/",
        f"/trace/{bo}/",
        f"/runs/{pipeline['run']}/",
    ]


@pytest.fixture
def sale_pages(houston: ChannelDatabase) -> list[str]:
    """Pages of sales, orders and a statement; one sale is voided, one failed, one quarantined."""
    ann = make_customer(houston, "Ann")
    make_sale(houston, "10.00", async_account=ann)
    make_sale(houston, "7.00", entry_status="voided")
    make_sale(houston, "8.00", transaction_id="T-1", net_amount="9.00")
    make_sale(houston, "9.00", currency="usd")
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, async_account=ann, **order)
    run("eod")
    run("sync-orders")
    failed_sale = RetailTransaction.objects.get(transaction_id="T-1").get_absolute_url()
    quarantined_sale = f"/quarantine/{Quarantine.objects.get().pk}/"
    return [
        "/transactions/",
        failed_sale,
        f"{failed_sale}correct/",
        "/transactions/failed/",
        "/transactions/failed/alike/?cause=net_differs:net_amount:header",
        "/transactions/failed/alike/?cause=customer_unknown:async_account:header",
        "/orders/",
        SalesOrder.objects.get(statement=None).get_absolute_url(),
        "/statements/",
        Statement.objects.get().get_absolute_url(),
        "/end-of-day/",
        quarantined_sale,
        f"{quarantined_sale}correct/",
    ]


@pytest.fixture
def conflict_pages(houston: ChannelDatabase, popup: ChannelDatabase) -> list[str]:
    """Pages of a customer with conflicting edits."""
    guid = make_customer(houston, "Ann", phone="111 111")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, houston, async_account=guid)
    run("pipeline")
    edit = {"operation": "update", "async_account": guid}
    make_event("customer", houston, **edit, phone="222 222")
    make_event("customer", popup, **edit, phone="333 333")
    run("pipeline")
    account = Customer.objects.get(first_name=None, phone="333 333").account_number
    conflict = EditConflict.objects.get(field="phone").get_absolute_url()
    return [f"/customers/{account}/change/", "/conflicts/", conflict, f"/trace/{account}/"]


def axe_violations(page: Page, path: str) -> list[str]:
    """What axe finds on the open page, each with the HTML that it is about."""
    return [
        f"{path}: {rule['id']}: {node['html'][:160]}"
        for rule in Axe().run(page).response["violations"]
        for node in rule["nodes"]
    ]


def scrolls_sideways(page: Page, path: str) -> bool:
    """Whether the page is wider than the screen, or the table of a list wider than its place."""
    parts = "[document.documentElement"
    if path in LISTS:
        parts += ", ...document.querySelectorAll('.table-wrap')"
    return page.evaluate(f"{parts}].some(part => part.scrollWidth > part.clientWidth + 1)")


def assert_accessible_on_a_phone(page: Page, site: str, paths: list[str]) -> None:
    page.set_viewport_size(PHONE)
    faults = []
    for path in paths:
        assert page.goto(site + path).status == 200, path
        faults += axe_violations(page, path)
        if scrolls_sideways(page, path):
            faults.append(f"{path}: scrolls sideways")
    assert faults == []


def test_axe_finds_nothing_on_the_sign_in_page(watched: Page, site, hq):
    watched.goto(f"{site}/sign-in/")

    assert axe_violations(watched, "/sign-in/") == []


def test_no_page_has_faults_in_light_or_dark_or_scrolls_sideways_on_a_phone(
    watched: Page, site, link_for, customer_pages
):
    page = watched
    page.goto(site + link_for("viewer", is_staff=True))
    screen = page.viewport_size

    faults = []
    for path in PAGES + customer_pages:
        page.set_viewport_size(screen)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(site + path)
        faults += axe_violations(page, path)
        page.emulate_media(color_scheme="dark")
        faults += axe_violations(page, f"{path} (dark)")
        page.set_viewport_size(PHONE)
        if scrolls_sideways(page, path):
            faults.append(f"{path}: scrolls sideways")

    assert faults == []


def test_the_pages_of_sales_are_accessible_on_a_phone(watched: Page, site, link_for, sale_pages):
    watched.goto(site + link_for("boss", is_superuser=True))

    assert_accessible_on_a_phone(watched, site, sale_pages)


def test_the_pages_of_conflicts_are_accessible_on_a_phone(
    watched: Page, site, link_for, conflict_pages
):
    watched.goto(site + link_for("boss", is_superuser=True))

    assert_accessible_on_a_phone(watched, site, conflict_pages)


def test_the_menu_opens_on_a_phone(watched: Page, site, link_for):
    page = watched
    page.set_viewport_size(PHONE)
    page.goto(site + link_for("viewer"))

    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Jobs", exact=True).click()

    assert page.url == f"{site}/jobs/"


def test_the_admin_obeys_the_content_security_policy(watched: Page, site, link_for, houston):
    """The fixture `watched` fails the test if the browser reports a violation."""
    watched.goto(site + link_for("administrator", is_staff=True, is_superuser=True))

    for path in [*ADMIN_PAGES, f"/admin/stores/channel/{houston.channel_id}/change/"]:
        watched.goto(site + path)
