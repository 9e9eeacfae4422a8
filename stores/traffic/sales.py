"""Sales, returns and customer orders as tills write them: header, lines and payments in one go.

Buyers are those whom the channel can look up, pending ones by their GUID.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from stores.traffic.edits import HeldParts, KnownCustomer, names_of
from stores.traffic.people import EventRow, make_event_row, make_guid, make_stamp
from stores.traffic.store import Store

DOCUMENT_TABLES = ("retail_transaction", "retail_transaction_line", "retail_transaction_payment")
Document = dict[str, list[EventRow]]
CENT = Decimal("0.01")
TAX = {"USD": Decimal("0.08"), "EUR": Decimal("0.21"), "GBP": Decimal("0.20")}
ARTICLES = (
    ("0001", "Table lamp", "24.95"),
    ("0002", "Notebook, lined", "3.49"),
    ("0003", "Kettle", "39.00"),
    ("0004", "Tea towel", "6.75"),
    ("0005", "Garden chair", "89.50"),
    ("0006", "Candle", "2.20"),
    ("0007", "Rain coat", "54.99"),
    ("0008", "Umbrella", "17.30"),
)
TENDERS = ("cash", "card", "voucher")
# How many of the sales name a customer, are returns, are paid in two tenders, in foreign money.
NAMED_SHARE, RETURNED_SHARE, SPLIT_SHARE, FOREIGN_SHARE = 0.6, 0.08, 0.15, 0.05
# How many orders are not paid in full when they are written, and what is paid of some of them.
DEPOSIT_SHARE, DEPOSIT_PART = 0.5, Decimal("0.3")


@dataclass(frozen=True)
class SaleFault:
    """One way in which a till gets a sale wrong; `reason` is what HQ is meant to say."""

    spoil: Callable[[Document], None]
    reason: str
    is_quarantined: bool = False

    @property
    def name(self) -> str:
        return self.spoil.__name__


def make_sale(
    rng: Random, store: Store, buyer: KnownCustomer | None, number: int, share: float
) -> Document:
    """One sale, or now and then a return, at a share (0 to 1) of the store's day."""
    return make_sale_document(
        rng,
        store,
        "return" if rng.random() < RETURNED_SHARE else "sale",
        buyer,
        number,
        store.moment(share),
    )


def make_order(
    rng: Random, store: Store, buyer: KnownCustomer, held: HeldParts, number: int, share: float
) -> Document:
    """One customer order; most are to be delivered to an address that the customer has."""
    made = make_sale_document(rng, store, "customer_order", buyer, number, store.moment(share))
    header = made["retail_transaction"][0]
    if rng.random() < DEPOSIT_SHARE:
        pay_in_advance(rng, made)
    header["confirmation_number"] = f"{store.label}-{header['event_id'][:13]}".upper()[:50]
    if "address" in held and rng.random() < 0.7:
        header["delivery_address_id"] = held["address"].content["address_id"]
        header["delivery_mode"] = "HOME"
    return made


def pay_in_advance(rng: Random, document: Document) -> None:
    """Have an order be paid nothing yet, or a deposit."""
    header = document["retail_transaction"][0]
    deposit = (header["gross_amount"] * rng.choice((0, DEPOSIT_PART))).quantize(CENT)
    header["payment_amount"] = deposit
    document["retail_transaction_payment"] = [
        {"transaction_id": header["transaction_id"]} | payment
        for payment in make_payments(rng, deposit, header["currency"])
        if deposit
    ]


def make_sale_document(
    rng: Random, store: Store, kind: str, buyer: KnownCustomer | None, number: int, moment: str
) -> Document:
    guid, account = names_of(rng, buyer) if buyer else (None, None)
    stamp = make_stamp(rng, moment, guid, account)
    foreign = {"EUR": "GBP", "USD": "EUR"}[store.currency]
    currency = foreign if rng.random() < FOREIGN_SHARE else store.currency
    sign = -1 if kind == "return" else 1
    lines = [make_line(rng, place, currency, sign) for place in range(1, rng.randint(2, 5))]
    net, tax, discount = (
        sum((line[column] for line in lines), Decimal(0))
        for column in ("net_amount", "tax_amount", "discount_amount")
    )
    header = make_event_row(rng, stamp, {}) | {
        "transaction_type": kind,
        "entry_status": "voided" if rng.random() < 0.02 else "concluded",
        "confirmation_number": None,
        "business_date": moment[:10],
        "store_number": store.label.split("/")[0][:10],
        "currency": currency,
        "net_amount": net,
        "tax_amount": tax,
        "gross_amount": net + tax,
        "discount_amount": discount,
        "payment_amount": net + tax,
        "line_count": len(lines),
        "delivery_address_id": None,
        "delivery_mode": None,
    }
    document_id = f"{header['store_number']}-{header['terminal_id']}-{make_guid(rng)[:13]}".upper()
    header |= {
        "transaction_id": document_id,
        "receipt_number": f"{number + 1:06}-{document_id[-4:]}",
    }
    key = {"transaction_id": document_id}
    return {
        "retail_transaction": [header],
        "retail_transaction_line": [key | line for line in lines],
        "retail_transaction_payment": [
            key | payment for payment in make_payments(rng, net + tax, currency)
        ],
    }


def make_line(rng: Random, place: int, currency: str, sign: int) -> EventRow:
    item, description, text = rng.choice(ARTICLES)
    price, quantity = Decimal(text), sign * rng.randint(1, 3)
    discount = (price * quantity * rng.choice((0, 0, 0, Decimal("0.1")))).quantize(CENT)
    net = price * quantity - discount
    return {
        "line_number": place,
        "item_id": item,
        "description": description,
        "quantity": Decimal(quantity),
        "unit": "ea",
        "price": price,
        "discount_amount": discount,
        "tax_amount": (net * TAX[currency]).quantize(CENT),
        "net_amount": net,
        "is_voided": False,
    }


def make_payments(rng: Random, total: Decimal, currency: str) -> list[EventRow]:
    parts = [total]
    if rng.random() < SPLIT_SHARE:
        first = (total / 3).quantize(CENT)
        parts = [first, total - first]
    tenders = rng.sample(TENDERS, len(parts))
    return [
        {"line_number": place, "tender_type": tender, "amount": amount, "currency": currency}
        for place, (tender, amount) in enumerate(zip(tenders, parts, strict=True), 1)
    ]


def header_total_off(document: Document) -> None:
    document["retail_transaction"][0]["net_amount"] += CENT
    document["retail_transaction"][0]["gross_amount"] += CENT
    if document["retail_transaction_payment"]:
        document["retail_transaction"][0]["payment_amount"] += CENT
        document["retail_transaction_payment"][0]["amount"] += CENT


def payment_off(document: Document) -> None:
    """Less was paid than a sale came to; more for an order, of which the rest may be paid later."""
    header = document["retail_transaction"][0]
    off = 1 if header["transaction_type"] == "customer_order" else -1
    header["payment_amount"] = header["gross_amount"] + off
    document["retail_transaction_payment"] = [
        {
            "transaction_id": header["transaction_id"],
            "line_number": 1,
            "tender_type": "cash",
            "amount": header["payment_amount"],
            "currency": header["currency"],
        }
    ]


def price_below_zero(document: Document) -> None:
    """One more line, with a negative price, of which nothing was sold."""
    lines, none = document["retail_transaction_line"], Decimal(0)
    lines.append(
        lines[0]
        | {"line_number": len(lines) + 1, "price": Decimal("-1.00"), "quantity": none}
        | {"discount_amount": none, "tax_amount": none, "net_amount": none}
    )
    document["retail_transaction"][0]["line_count"] += 1


def customer_nobody_knows(document: Document) -> None:
    """A GUID that no till ever saved a customer under."""
    header = document["retail_transaction"][0]
    header |= {"async_account": header["event_id"], "account_number": None}


def amount_that_is_no_number(document: Document) -> None:
    """NaN, where PostgreSQL lets it through and SQLite takes any text."""
    document["retail_transaction"][0]["tax_amount"] = "NaN"


def type_nobody_knows(document: Document) -> None:
    """A kind of document that HQ has no use for."""
    document["retail_transaction"][0]["transaction_type"] = "raffle"


SALE_FAULTS = (
    SaleFault(header_total_off, "net_differs"),
    SaleFault(payment_off, "not_paid"),
    SaleFault(price_below_zero, "price_negative"),
    SaleFault(customer_nobody_knows, "customer_unknown"),
    SaleFault(amount_that_is_no_number, "amount_format", is_quarantined=True),
    SaleFault(type_nobody_knows, "unknown_word", is_quarantined=True),
)


def pick_buyers(
    rng: Random, known: Sequence[KnownCustomer], count: int
) -> list[KnownCustomer | None]:
    """Who buys in each of a number of sales; None is a guest."""
    return [
        rng.choice(known) if known and rng.random() < NAMED_SHARE else None for _ in range(count)
    ]
