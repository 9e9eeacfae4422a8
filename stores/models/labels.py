"""What columns are called when people read of them."""

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
