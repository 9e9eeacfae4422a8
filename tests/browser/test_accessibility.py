"""Every page in light and dark: nothing that axe finds, and no sideways scrolling on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from stores.models import (
    ChannelDatabase,
    Customer,
    EditConflict,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    Statement,
)
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


def busy_day(houston: ChannelDatabase, popup: ChannelDatabase) -> list[str]:
    """Something to see in every state; the addresses of the pages that show it."""
    guid = make_customer(houston, "Ann", email="ann@example.com")
    make_event("address", houston, async_account=guid)
    make_event("contact", houston, async_account=guid)
    found = run("pipeline")
    pending = make_customer(popup, "Bo")
    make_customer(popup, "C" * 61)
    run("P-0001")
    ChannelDatabase.objects.filter(pk=popup.pk).update(last_error="Channel popup does not answer.")
    account = Customer.objects.get(first_name="Ann").account_number
    return [
        f"/customers/{account}/",
        f"/trace/{guid}/",
        f"/trace/{pending}/",
        f"/runs/{found['run']}/",
    ]


def busy_till(houston: ChannelDatabase) -> list[str]:
    """Sales in every state, and the addresses of the pages that show them."""
    ann = make_customer(houston, "Ann")
    make_sale(houston, "10.00", async_account=ann)
    make_sale(houston, "7.00", entry_status="voided")
    make_sale(houston, "8.00", transaction_id="T-1", net_amount="9.00")
    make_sale(houston, "9.00", currency="usd")
    make_sale(
        houston, transaction_type="customer_order", confirmation_number="SO-1", async_account=ann
    )
    run("eod")
    run("sync-orders")
    in_error = RetailTransaction.objects.get(transaction_id="T-1").get_absolute_url()
    case = f"/quarantine/{Quarantine.objects.get().pk}/"
    return [
        "/transactions/",
        in_error,
        f"{in_error}correct/",
        "/transactions/failed/",
        "/transactions/failed/alike/?cause=net_differs:net_amount:header",
        "/transactions/failed/alike/?cause=customer_unknown:async_account:header",
        "/orders/",
        SalesOrder.objects.get(statement=None).get_absolute_url(),
        "/statements/",
        Statement.objects.get().get_absolute_url(),
        "/end-of-day/",
        case,
        f"{case}correct/",
    ]


def contended(houston: ChannelDatabase, popup: ChannelDatabase) -> list[str]:
    """A customer to be changed, and two edits of it that contend."""
    guid = make_customer(houston, "Ann", phone="111 111")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, houston, async_account=guid)
    run("pipeline")
    for shop, phone in ((houston, "222 222"), (popup, "333 333")):
        edit = {"operation": "update", "async_account": guid, "phone": phone}
        make_event("customer", shop, **edit)
    run("pipeline")
    account = Customer.objects.get(first_name=None, phone="333 333").account_number
    conflict = EditConflict.objects.get(field="phone").get_absolute_url()
    return [f"/customers/{account}/change/", "/conflicts/", conflict, f"/trace/{account}/"]


def findings(page: Page, path: str) -> list[str]:
    """What axe finds, with the page and the place."""
    return [
        f"{path}: {rule['id']}: {node['html'][:160]}"
        for rule in Axe().run(page).response["violations"]
        for node in rule["nodes"]
    ]


def test_axe_finds_nothing_in_light_and_dark(watched: Page, site, link_for, houston, popup):
    page, found = watched, []
    paths = PAGES + busy_day(houston, popup)
    page.goto(f"{site}/sign-in/")
    found += findings(page, "/sign-in/")
    page.goto(site + link_for("viewer", is_staff=True))
    for path in paths:
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(site + path)
        found += findings(page, path)
        page.emulate_media(color_scheme="dark")
        found += findings(page, f"{path} (dark)")

    assert not found, "\n".join(found)


def test_the_pages_of_sales_are_clean_and_fit_a_phone(watched: Page, site, link_for, houston):
    assert_clean_on_a_phone(watched, site, link_for, busy_till(houston))


def assert_clean_on_a_phone(page: Page, site, link_for, paths: list[str]) -> None:
    found = []
    page.set_viewport_size(PHONE)
    page.goto(site + link_for("boss", is_superuser=True))
    for path in paths:
        assert page.goto(site + path).status == 200, path
        found += findings(page, path)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{path}: scrolls sideways")

    assert not found, "\n".join(found)


def test_the_pages_of_edits_are_clean_and_fit_a_phone(
    watched: Page, site, link_for, houston, popup
):
    assert_clean_on_a_phone(watched, site, link_for, contended(houston, popup))


def test_no_page_scrolls_sideways_on_a_phone(watched: Page, site, link_for, houston, popup):
    page, wide = watched, []
    paths = PAGES + busy_day(houston, popup)
    page.set_viewport_size(PHONE)
    page.goto(site + link_for("viewer"))
    for path in paths:
        page.goto(site + path)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path)

    assert wide == []


def test_the_menu_opens_on_a_phone(watched: Page, site, link_for):
    page = watched
    page.set_viewport_size(PHONE)
    page.goto(site + link_for("viewer"))

    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Jobs", exact=True).click()

    assert page.url == f"{site}/jobs/"


def test_the_admin_is_clean_under_the_policy(watched: Page, site, link_for, houston):
    page = watched
    page.goto(site + link_for("administrator", is_staff=True, is_superuser=True))
    for path in (
        "/admin/",
        "/admin/stores/channel/",
        f"/admin/stores/channel/{houston.channel_id}/change/",
        "/admin/stores/company/USRT/change/",
        "/admin/stores/customer/",
        "/admin/auth/user/",
    ):
        page.goto(site + path)
