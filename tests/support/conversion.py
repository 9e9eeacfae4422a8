"""The conversion as its tests run it, and Ann, the first customer who has an account."""

from typing import Any

from stores.models import Customer
from tests.support.make import run


def get_ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def convert() -> dict[str, Any]:
    """Upload every channel and convert. Returns the document of the conversion."""
    run("P-0001")
    return run("sync-customers")
