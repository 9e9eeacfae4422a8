"""The lists of the portal, and what their pages and CSV files show."""

import csv
import io
import re
from html import unescape
from typing import Any

from django.test import Client
from django.utils.html import strip_tags

from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    DayBalance,
    DownloadSession,
    JobRun,
    Quarantine,
    UploadSession,
)
from stores.web.lists.async_customers import AsyncCustomerTable
from stores.web.lists.balance import BalanceTable
from stores.web.lists.channels import ChannelTable
from stores.web.lists.customers import CustomerTable
from stores.web.lists.quarantine import QuarantineTable
from stores.web.lists.runs import RunTable
from stores.web.lists.sessions import DownloadTable, UploadTable

# URLs of the lists that have rows after the fixture `people`.
LISTS = {
    "async-customers": "/async-customers/",
    "customers": "/customers/",
    "quarantine": "/quarantine/",
    "runs": "/runs/",
    "uploads": "/sessions/uploads/",
    "downloads": "/sessions/downloads/",
    "channels": "/channels/",
    "balance": "/balance/",
}
TABLES = {
    "async-customers": AsyncCustomerTable,
    "customers": CustomerTable,
    "quarantine": QuarantineTable,
    "runs": RunTable,
    "uploads": UploadTable,
    "downloads": DownloadTable,
    "channels": ChannelTable,
    "balance": BalanceTable,
}
MODELS = {
    "async-customers": AsyncCustomer,
    "customers": Customer,
    "quarantine": Quarantine,
    "runs": JobRun,
    "uploads": UploadSession,
    "downloads": DownloadSession,
    "channels": ChannelDatabase,
    "balance": DayBalance,
}
# URLs of the lists of sales.
SALES = ["/transactions/", "/orders/", "/statements/"]


def text_of(response: Any) -> str:
    """The text of a page or file that was found."""
    assert response.status_code == 200
    return response.getvalue().decode()


def page_at(client: Client, url: str, **headers: Any) -> str:
    """The text of the page at a URL."""
    return text_of(client.get(url, **headers))


def links_of(response: Any) -> dict[str, str]:
    """The URLs of the links of a page, by their words."""
    links = re.findall(r'<a\b[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', text_of(response), re.DOTALL)
    return {" ".join(strip_tags(words).split()): unescape(url) for url, words in links}


def rows_of(response: Any) -> list[Any]:
    """The rows that a list shows on its page."""
    return [row.record for row in response.context["table"].paginated_rows]


def csv_rows(response: Any) -> list[dict[str, str]]:
    """The rows of a CSV file, by header."""
    return list(csv.DictReader(io.StringIO(response.getvalue().decode())))
