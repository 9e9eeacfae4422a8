"""Sales, returns and customer orders as a till rings them up, and what is to be remembered of them.

Amounts are exact to the cent, and what leaves the customer is positive. One in fifty is wrong on
purpose: its total is not what its lines come to.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

CENT = Decimal("0.01")
TAX = Decimal("0.08")
TABLES = ("retail_transaction", "retail_transaction_line", "retail_transaction_payment")
# In these channels the sales of a day are posted while it lasts.
ON_TRICKLE_FEED = ("houston", "kiosk")
Rows = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Document:
    """What a till keeps of a document; `payments` are tender, currency and amount."""

    transaction_id: str
    channel: str
    business_date: str
    kind: str
    is_good: bool
    is_voided: bool
    payments: tuple[tuple[str, str, str], ...]
    async_account: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Buyer:
    """Whom a document names: nobody, a GUID or an account, and perhaps an address of theirs."""

    async_account: str | None = None
    account_number: str | None = None
    address_id: str | None = None


def ring_up(dice: Random, channel: str, number: str, buyer: Buyer) -> tuple[Document, Rows]:
    """A document and its rows, the header first."""
    kind = dice.choices(["sale", "return", "customer_order"], [70, 12, 18])[0]
    sign = -1 if kind == "return" else 1
    currency = "EUR" if dice.random() < 0.1 else "USD"
    lines = [line(dice, place, sign) for place in range(1, dice.randint(2, 5))]
    net, tax = (
        sum((row[column] for row in lines), Decimal(0)) for column in ("net_amount", "tax_amount")
    )
    paid = payments(dice, kind, net + tax)
    is_good, is_voided = dice.random() > 0.02, dice.random() < 0.03
    document = Document(
        number,
        channel,
        business_date(dice, channel),
        kind,
        is_good,
        is_voided,
        tuple((tender, currency, str(amount)) for tender, amount in paid),
        buyer.async_account,
    )
    header = {
        "event_id": str(UUID(int=dice.getrandbits(128), version=4)),
        "occurred_at": datetime.now(UTC).isoformat(),
        "operation": "create",
        "async_account": buyer.async_account,
        "account_number": buyer.account_number,
        "terminal_id": "T-1",
        "transaction_id": number,
        "transaction_type": kind,
        "entry_status": "voided" if is_voided else "concluded",
        "confirmation_number": f"C-{number}" if kind == "customer_order" else None,
        "business_date": document.business_date,
        "store_number": channel,
        "currency": currency,
        "net_amount": str(net if is_good else net + 1),
        "tax_amount": str(tax),
        "gross_amount": str(net + tax),
        "discount_amount": "0",
        "payment_amount": str(sum((amount for _, amount in paid), Decimal(0))),
        "line_count": len(lines),
        "delivery_address_id": buyer.address_id if kind == "customer_order" else None,
        "delivery_mode": "HOME" if kind == "customer_order" and buyer.address_id else None,
        "receipt_number": number[-12:],
    }
    key = {"transaction_id": number}
    rows: Rows = [("retail_transaction", header)]
    rows += [
        (
            "retail_transaction_line",
            key | {name: as_text(value) for name, value in row.items()},
        )
        for row in lines
    ]
    rows += [
        (
            "retail_transaction_payment",
            key
            | {
                "line_number": place,
                "tender_type": tender,
                "amount": str(amount),
                "currency": currency,
            },
        )
        for place, (tender, amount) in enumerate(paid, 1)
    ]
    return document, rows


def line(dice: Random, place: int, sign: int) -> dict[str, Any]:
    """One article, one to three times."""
    quantity = sign * dice.randint(1, 3)
    price = Decimal(dice.randint(100, 9999)) * CENT
    net = quantity * price
    return {
        "line_number": place,
        "item_id": f"{dice.randint(1, 40):04}",
        "description": "Thing",
        "quantity": quantity,
        "unit": "ea",
        "price": price,
        "discount_amount": Decimal(0),
        "tax_amount": (net * TAX).quantize(CENT),
        "net_amount": net,
        "is_voided": False,
    }


def payments(dice: Random, kind: str, due: Decimal) -> list[tuple[str, Decimal]]:
    """What goes into the drawer: all of it, in one tender or two; of an order perhaps a deposit."""
    if kind == "customer_order":
        share = dice.choice([Decimal(0), Decimal("0.3"), Decimal(1)])
        deposit = (due * share).quantize(CENT)
        return [(dice.choice(["cash", "card"]), deposit)] if deposit else []
    if dice.random() < 0.2:
        first = (due / 2).quantize(CENT)
        return [("card", first), ("cash", due - first)]
    return [(dice.choice(["cash", "card"]), due)]


def business_date(dice: Random, channel: str) -> str:
    """A day that can be posted now."""
    latest = 0 if channel in ON_TRICKLE_FEED else 1
    day = datetime.now(UTC).date() - timedelta(days=dice.randint(latest, 2))
    return day.isoformat()


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else value
