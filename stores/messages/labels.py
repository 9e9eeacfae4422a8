"""What columns, numbers of things and lengths of time are called when people read of them."""

from datetime import timedelta

LABELS = {
    "email": "E-mail",
    "receipt_email": "Receipt e-mail",
    "vat_number": "VAT number",
    "async_account": "Async customer account (GUID)",
    "account_number": "Customer account",
    "delivery_address_id": "Delivery address (GUID)",
    "transaction_id": "Transaction number",
    "staff_id": "Staff",
    "terminal_id": "Terminal",
    "item_id": "Item",
    "tender_type": "Tender",
    "is_voided": "Voided",
    "is_active": "Active",
    "is_primary": "Primary",
    "marketing_opt_in": "Marketing consent",
}


def label(column: str) -> str:
    return LABELS.get(column) or column.replace("_", " ").capitalize()


def plural(noun: str, count: int) -> str:
    """A noun as it stands after a number."""
    if count == 1:
        return noun
    if noun.endswith("try"):
        return f"{noun.removesuffix('y')}ies"
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 row, 2,000 rows."""
    return f"{count:,} {plural(noun, count)}"


def duration_words(duration: timedelta) -> str:
    """A length of time in one unit, such as 3 h."""
    seconds = duration.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"
