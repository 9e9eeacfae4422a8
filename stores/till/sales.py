"""What people at a till sell: sales and returns, and customer orders in the mode of the profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from stores.channeldb import models
from stores.till.counter import OpenTill, Till
from stores.till.look_up import Found, addresses_of, expectation, find
from stores.till.refusals import InvalidValues, Refused
from stores.till.rules import sentence
from stores.till.saves import made_id, new_save_id
from stores.till.service import ServiceUnreachable
from stores.values.characters import normalize_key, normalize_text
from stores.values.currency import CURRENCIES, places_of

# How many characters HQ keeps, and which of the texts may be left out.
LENGTHS = {"item_id": 20, "description": 120, "tender_type": 20, "staff_id": 25, "terminal_id": 10}
LEFT_OUT = ("description", "staff_id", "terminal_id")
MAX_LINES = 500
SYNCHRONOUS = "In synchronous mode, this channel takes orders only"
# HQ keeps four decimal places, and its amounts have at most 14 digits before the point.
QUANTUM, LIMIT = Decimal("0.0001"), Decimal(10) ** 12


@dataclass(frozen=True)
class Line:
    item_id: str
    quantity: Decimal
    price: Decimal
    description: str = ""


@dataclass(frozen=True)
class Basket:
    """What is sold, and how it is paid. Tax is a percentage of the net amount."""

    lines: Sequence[Line]
    currency: str = ""
    tax_percent: Decimal = Decimal(0)
    tender: str = "cash"


@dataclass(frozen=True)
class SavedSale:
    """A sale, return or order, after its commit."""

    message: str
    transaction_id: str
    total: Decimal
    currency: str
    customer: Found | None = None
    confirmation_number: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "transaction_id": self.transaction_id,
            "confirmation_number": self.confirmation_number,
            "total": str(self.total),
            "currency": self.currency,
            "customer": self.customer and self.customer.document,
        }


def sell(
    till: Till,
    basket: Basket,
    ref: str = "",
    *,
    is_return: bool = False,
    save_id: UUID | None = None,
) -> SavedSale:
    """Save a sale or a return that is paid in full. Errors: Refused, ChannelError.

    Without a customer it belongs to the channel's default customer. The same `save_id` saves it
    once.
    """
    save_id = save_id or new_save_id()
    with till.open() as opened:
        found = find(opened, ref) if ref else None
        kind = "return" if is_return else "sale"
        ids = ids_of(till, save_id, f"sale {ref}")
        header, lines = document_of(opened, basket, kind, found, ids)
        rows = rows_of(header, lines, header.gross_amount, basket.tender)
        return saved(header, found, f"The {kind} is", is_new=opened.save(rows))


def order(
    till: Till,
    basket: Basket,
    ref: str,
    *,
    prepaid: Decimal = Decimal(0),
    delivers: bool = False,
    save_id: UUID | None = None,
) -> SavedSale:
    """Save a customer order; `delivers` sends it to the customer's newest address.

    The same `save_id` saves it once. Errors: Refused, ChannelError.
    """
    save_id = save_id or new_save_id()
    with till.open() as opened:
        found = find(opened, ref)
        ids = ids_of(till, save_id, f"order {ref}")
        header, lines = document_of(opened, basket, "customer_order", found, ids)
        if not 0 <= prepaid <= header.gross_amount:
            raise InvalidValues(
                {"payment_amount": f"Prepaid: not between 0 and {header.gross_amount}."}
            )
        if delivers:
            header.delivery_address_id = newest_address(opened, found)
            header.delivery_mode = "HOME"
        suffix = made_id(save_id, f"confirmation {ref}").hex[:10]
        header.confirmation_number = f"{till.code}-{suffix}".upper()
        rows = rows_of(header, lines, rounded(prepaid, header.currency), basket.tender)
        if not opened.holds(rows):
            require_order_mode(opened, found)
        return saved(header, found, "The order is", is_new=opened.save(rows))


def require_order_mode(opened: OpenTill, found: Found) -> None:
    """Refuse an order that the profile's mode does not allow now. Errors: Refused.

    The real-time service creates no orders, so an order is stored here in each mode. In synchronous
    mode the till takes none that headquarters could not create at once.
    """
    mode = opened.settings.order_mode
    if opened.till.is_offline or mode != "sync":
        return
    if found.is_pending:
        raise Refused(
            f"{SYNCHRONOUS} for customers with an account, and this customer is"
            f" {found.display_account}. Nothing was saved."
            f" {expectation(opened, found)}"
        )
    service = opened.till.service
    if service is None:
        raise Refused(
            f"{SYNCHRONOUS} while headquarters answers, and the till was not given the address of"
            " its real-time service. Nothing was saved."
        )
    try:
        service.reach()
    except ServiceUnreachable as failure:
        raise Refused(
            f"{failure} {SYNCHRONOUS} while headquarters answers. Nothing was saved; it works when"
            " headquarters can be reached."
        ) from None


def newest_address(opened: OpenTill, found: Found) -> UUID:
    addresses = addresses_of(opened, found)
    if not addresses:
        raise Refused("The customer has no address. Nothing was saved; add one first.")
    return UUID(str(addresses[-1]["address_id"]))


# ------------------------------------------------------------------------------ documents


def ids_of(till: Till, save_id: UUID, purpose: str) -> dict[str, Any]:
    """The ids and the numbers of a document, made of its save."""
    number = f"{till.code[:10]}-{made_id(save_id, f'{purpose} number').hex[:12]}".upper()
    return {
        "event_id": made_id(save_id, purpose),
        "transaction_id": number,
        "receipt_number": number[-12:],
    }


def document_of(
    opened: OpenTill, basket: Basket, kind: str, found: Found | None, ids: Mapping[str, Any]
) -> tuple[Any, list[Any]]:
    """The header of a document and its lines, with the signs of their kind. Errors: Refused."""
    currency = normalize_key(basket.currency) or opened.usual_currency
    problems = basket_problems(opened.till, basket, kind, currency)
    if problems:
        raise InvalidValues(problems)
    sign = -1 if kind == "return" else 1
    lines = [
        line_of(number, line, sign, currency, basket.tax_percent)
        for number, line in enumerate(basket.lines, 1)
    ]
    net = sum((line.net_amount for line in lines), Decimal(0))
    tax = sum((line.tax_amount for line in lines), Decimal(0))
    header = opened.event(
        models.RetailTransaction,
        "create",
        **(found.owner if found else {}),
        **ids,
        transaction_type=kind,
        entry_status="concluded",
        # Headquarters knows the store's business date: by its own clock and hours.
        business_date=None,
        store_number=opened.till.code[:10],
        currency=currency,
        net_amount=net,
        tax_amount=tax,
        gross_amount=net + tax,
        discount_amount=Decimal(0),
        line_count=len(lines),
    )
    for line in lines:
        line.transaction_id = header.transaction_id
    return header, lines


def line_of(number: int, line: Line, sign: int, currency: str, tax_percent: Decimal) -> Any:
    quantity = sign * line.quantity
    net = rounded(quantity * line.price, currency)
    return models.RetailTransactionLine(
        line_number=number,
        item_id=normalize_key(line.item_id),
        description=normalize_text(line.description) or None,
        quantity=quantity,
        unit="ea",
        price=line.price,
        discount_amount=Decimal(0),
        tax_amount=rounded(net * tax_percent / 100, currency),
        net_amount=net,
        is_voided=False,
    )


def rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(Decimal(1).scaleb(-places_of(currency)), ROUND_HALF_UP)


def basket_problems(till: Till, basket: Basket, kind: str, currency: str) -> dict[str, str]:
    problems = {}
    if currency not in CURRENCIES:
        problems["currency"] = sentence("unknown_word", "currency", "a currency of ISO 4217")
    if not basket.lines or len(basket.lines) > MAX_LINES:
        problems["item_id"] = f"Enter 1 to {MAX_LINES} items."
    if not 0 <= basket.tax_percent <= 100:
        problems["tax_percent"] = "Tax: not between 0 and 100 percent."
    texts = [("tender_type", basket.tender)]
    texts += [("staff_id", till.staff_id or ""), ("terminal_id", till.terminal_id or "")]
    for line in basket.lines:
        texts += [("item_id", line.item_id), ("description", line.description)]
        if not is_amount(line.price) or line.price < 0:
            problems["price"] = "Price: must be 0 or more, with at most 4 decimal places."
        if not is_amount(line.quantity) or line.quantity == 0:
            problems["quantity"] = (
                "Quantity: must be a number other than 0, with at most 4 decimal places."
            )
    for column, text in texts:
        if not normalize_key(text) and column not in LEFT_OUT:
            problems[column] = sentence("value_missing", column)
        elif len(text) > LENGTHS[column]:
            allows = f"at most {LENGTHS[column]} characters"
            problems[column] = sentence("too_long", column, allows)
        elif not text.isprintable():
            problems[column] = sentence("unprintable", column)
    return problems or sign_problems(basket, kind)


def sign_problems(basket: Basket, kind: str) -> dict[str, str]:
    """What is wrong with the signs of a document: at a till, people count what changes hands."""
    quantities = [line.quantity for line in basket.lines]
    if kind == "sale" and max(quantities) < 0:
        return {"quantity": "Quantity: items only come back, so this is a return."}
    if kind != "sale" and min(quantities) < 0:
        return {"quantity": "Quantity: must not be negative here."}
    amounts = [line.quantity * line.price for line in basket.lines]
    # Of the lines as well: they may cancel out. No tax is more than its line.
    if max(map(abs, amounts)) >= LIMIT or abs(sum(amounts, Decimal(0))) >= LIMIT:
        return {"price": "Price: an amount of the basket has too many digits."}
    return {}


def is_amount(number: Decimal) -> bool:
    return number.is_finite() and abs(number) < LIMIT and number == number.quantize(QUANTUM)


def rows_of(header: Any, lines: list[Any], paid: Decimal, tender: str) -> list[Any]:
    """The rows of a document, with its payment."""
    header.payment_amount = paid
    payments = [
        models.RetailTransactionPayment(
            transaction_id=header.transaction_id,
            line_number=1,
            tender_type=normalize_key(tender),
            amount=paid,
            currency=header.currency,
        )
    ]
    return [header, *lines, *(payments if paid else [])]


def saved(header: Any, found: Found | None, start: str, *, is_new: bool) -> SavedSale:
    """Say that a document is saved, with the same numbers if it was saved before."""
    number = header.confirmation_number
    message = f"{start} {'saved' if is_new else 'already saved'}"
    message += f": confirmation number {number}." if number else "."
    message += f" Total {header.gross_amount} {header.currency}."
    if number:
        message += " Synchronize orders creates it at headquarters."
    return SavedSale(
        message,
        header.transaction_id,
        header.gross_amount,
        header.currency,
        found,
        number,
    )
