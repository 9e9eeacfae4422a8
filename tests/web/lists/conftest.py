import pytest

MODULES_WITH_COUNTS = (
    "stores.web.counts",
    "stores.web.format",
    "stores.web.lists.paging",
    "stores.web.lists.customers",
    "stores.web.lists.async_customers",
)


@pytest.fixture
def counted_to_two(monkeypatch) -> None:
    """Lists count no more than two rows."""
    for module in MODULES_WITH_COUNTS:
        monkeypatch.setattr(f"{module}.MAX_COUNTED", 2)
