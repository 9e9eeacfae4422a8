"""Why a row waits, failed or was quarantined: a code for programs, a sentence for people."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A fact about a row, and what to do next. `{field}` stands for the column's name.

    Where the next step needs a permission, `otherwise` is for users without it.
    """

    text: str
    next_step: str
    permission: str = ""
    otherwise: str = ""

    def advice(self, may: Callable[[str], bool]) -> str:
        """What a user can do next; `may` tells whether the user has a permission."""
        is_allowed = not self.permission or may(f"stores.{self.permission}")
        return self.next_step if is_allowed else self.otherwise


CORRECT = (
    "Correct it here or at the till. The corrected event replaces this row.",
    "resolve_quarantine",
    "Correct it at the till, or ask someone with permission to correct it here.",
)
CORRECT_SALE = (
    "Correct the transaction, or all transactions with the same error at once.",
    "mend_transaction",
    "Ask someone with permission to correct transactions.",
)

REASONS = {
    "key_missing": Reason("{field}: this key is required.", *CORRECT),
    "guid_format": Reason("{field}: not a GUID in canonical form.", *CORRECT),
    "guid_reserved": Reason("{field}: a GUID of all zeros or all ones is reserved.", *CORRECT),
    "unprintable": Reason("{field}: contains control characters or line breaks.", *CORRECT),
    "guid_missing": Reason("{field}: a new customer needs a temporary GUID.", *CORRECT),
    "guid_conflict": Reason(
        "{field}: another channel created this GUID and has not shared it.",
        "Find out which channel the customer belongs to. Once the GUID is shared, release the row.",
        "resolve_quarantine",
        "Find out which channel it belongs to, and ask someone with permission to release rows.",
    ),
    "event_conflict": Reason(
        "{field}: headquarters already has a different event with this ID.",
        "Compare the two; the first to arrive is kept. To use values of this row, correct it.",
        "resolve_quarantine",
        "The first to arrive is kept. Ask someone with permission to compare and correct them.",
    ),
    "encoding": Reason("{field}: not valid UTF-8.", *CORRECT),
    "type": Reason("{field}: wrong type of value.", *CORRECT),
    "time_format": Reason("{field}: not a time with a UTC offset.", *CORRECT),
    "date_format": Reason("{field}: not a date.", *CORRECT),
    "date_range": Reason("{field}: not between 1900 and today.", *CORRECT),
    "time_range": Reason("{field}: not between the years 1900 and 9999.", *CORRECT),
    "too_long": Reason("{field}: too long.", *CORRECT),
    "unknown_word": Reason("{field}: not one of the allowed values.", *CORRECT),
    "name_missing": Reason("{field}: a customer needs a name.", *CORRECT),
    "value_missing": Reason("{field}: must not be empty.", *CORRECT),
    "email_format": Reason("{field}: not an e-mail address.", *CORRECT),
    "phone_format": Reason("{field}: not a phone number.", *CORRECT),
    "country_unknown": Reason("{field}: not an ISO 3166-1 country code (three letters).", *CORRECT),
    "company_mismatch": Reason("{field}: the account belongs to another company.", *CORRECT),
    "attribute_invalid": Reason("{field}: not a valid value for the attribute.", *CORRECT),
    "corrected": Reason("It was replaced by a correction made at headquarters.", "Nothing to do."),
    "parent_missing": Reason(
        "The customer it belongs to has not arrived yet.",
        "Nothing to do: it is converted as soon as its customer is.",
    ),
    "parent_failed": Reason(
        "The customer it belongs to could not be converted.",
        "Correct the customer; this row then follows automatically.",
    ),
    "account_unknown": Reason(
        "No customer of the company has this account number.",
        "Check the account number at the till.",
    ),
    "identity_mismatch": Reason(
        "{field}: the GUID and the account number identify different customers.",
        "Correct it here or at the till.",
        "resolve_quarantine",
        "Correct it at the till, or ask someone with permission to correct it here.",
    ),
    "belongs_to_another": Reason("{field}: already belongs to another customer.", *CORRECT),
    "refused": Reason(
        "The database rejected the result, and no validation rule covers the cause.",
        "Correct the customer at the till, or ask an administrator: the log has the error code.",
    ),
    "sequence_exhausted": Reason(
        "The company's number sequence is used up.",
        "Raise its highest number; the next run converts the customer.",
        "change_company",
        "Ask an administrator to raise its highest number.",
    ),
    "sequence_missing": Reason(
        "The company has no number sequence.",
        "Add one in the settings; the next run converts the customer.",
        "change_company",
        "Ask an administrator to add one.",
    ),
    "document_incomplete": Reason(
        "{field}: some of the lines announced by the header never arrived.",
        "Correct it here with what was sold, or enter it again at the till under a new number.",
        "mend_transaction",
        "Enter it again at the till under a new number, or ask someone with permission to correct"
        " it.",
    ),
    "document_conflict": Reason(
        "{field}: headquarters already has a different document with this number.",
        "Compare the two; the first to arrive is kept. Correct this one here under a new number.",
        "mend_transaction",
        "The first to arrive is kept. Ask someone with permission to compare and correct them.",
    ),
    "document_elsewhere": Reason(
        "{field}: another channel has already sent this document for the same store.",
        "Find out whether both sales took place. If so, release this one; if not, dismiss it.",
        "resolve_quarantine",
        "Find out whether both sales took place, and ask someone with permission to release it.",
    ),
    "time_zone_unknown": Reason(
        "{field}: missing, and headquarters' database does not know the channel's time zone.",
        "Choose another time zone in the channel's settings, then release the row.",
        "change_channel",
        "Ask an administrator to choose another time zone for the channel.",
    ),
    "amount_format": Reason("{field}: not an exact amount.", *CORRECT),
    "overflow": Reason("{field}: too many digits.", *CORRECT),
    "customer_missing": Reason(
        "{field}: the customer it names has not arrived yet.",
        "Nothing to do: processing continues as soon as the customer arrives.",
    ),
    "address_missing": Reason(
        "{field}: the address it names has not arrived yet.",
        "Nothing to do: processing continues as soon as the address arrives.",
    ),
    "address_of_another": Reason(
        "{field}: the address belongs to another customer.", *CORRECT_SALE
    ),
    "customer_unknown": Reason(
        "{field}: headquarters has no such customer.",
        "Trace the customer to see where it is, or correct the transaction.",
        "mend_transaction",
        "Trace the customer to see where it is, or ask someone with permission to correct"
        " transactions.",
    ),
    "customer_not_active": Reason(
        "{field}: the customer's account is no longer active.", *CORRECT_SALE
    ),
    "period_closed": Reason(
        "{field}: in a closed fiscal period.",
        "Open the period in the company's settings, or correct the date.",
        "mend_transaction",
        "Ask someone with permission to open the period or correct the date.",
    ),
    "business_date_far": Reason(
        "{field}: too far from the day it arrived and from today.", *CORRECT_SALE
    ),
    "not_rounded": Reason("{field}: more decimal places than the currency has.", *CORRECT_SALE),
    "discount_differs": Reason("{field}: does not equal the sum of its lines.", *CORRECT_SALE),
    "net_differs": Reason("{field}: does not equal the sum of its lines.", *CORRECT_SALE),
    "tax_differs": Reason("{field}: does not equal the sum of its lines.", *CORRECT_SALE),
    "gross_differs": Reason("{field}: does not equal net plus tax.", *CORRECT_SALE),
    "line_count_differs": Reason("{field}: does not equal the number of its lines.", *CORRECT_SALE),
    "payment_differs": Reason("{field}: does not equal the sum of its payments.", *CORRECT_SALE),
    "nothing_sold": Reason("{field}: all lines are voided, or there are none.", *CORRECT_SALE),
    "only_returned": Reason(
        "{field}: items are only returned, so this must be a return.", *CORRECT_SALE
    ),
    "nothing_paid": Reason("{field}: everything that was paid was refunded.", *CORRECT_SALE),
    "not_paid": Reason("{field}: does not equal the total of the sale.", *CORRECT_SALE),
    "item_missing": Reason("{field}: a line needs an item.", *CORRECT_SALE),
    "card_number": Reason("{field}: must not contain a payment card number.", *CORRECT_SALE),
    "price_negative": Reason("{field}: must not be negative.", *CORRECT_SALE),
    "signs_differ": Reason("{field}: its sign differs from that of the quantity.", *CORRECT_SALE),
    "sign_wrong": Reason(
        "{field}: sales and payments must be positive, returns and refunds negative.", *CORRECT_SALE
    ),
    "line_differs": Reason(
        "{field}: does not equal quantity times price minus discount.", *CORRECT_SALE
    ),
    "more_than_price": Reason("{field}: more than quantity times price.", *CORRECT_SALE),
    "payment_currency": Reason(
        "{field}: paid in another currency without an exchange rate.", *CORRECT_SALE
    ),
    "sum_too_large": Reason(
        "{field}: too large to add to the other sales of the day.", *CORRECT_SALE
    ),
    "sale_refused": Reason(
        "{field}: the database rejected the result, and no validation rule covers the cause.",
        "Correct the transaction, or retry it unchanged. The error code shown with it helps"
        " whoever looks after the server.",
        "mend_transaction",
        "Ask someone with permission to correct transactions.",
    ),
    "not_ordered": Reason(
        "No sales order has been created yet.",
        "Run Synchronize orders.",
        "run_job",
        "Ask someone with permission to run jobs.",
    ),
    "nothing_ordered": Reason(
        "It orders nothing; only its payments count.",
        "Nothing to do: the end of day posts its payments.",
    ),
    "voided": Reason("It was voided at the till.", "Nothing to do: it is never posted."),
    "statement_open": Reason(
        "Its statement has not been posted yet.", "Open the statement to see what is blocking it."
    ),
    "being_corrected": Reason(
        "Someone is correcting it.", "Nothing to do: jobs process it afterwards."
    ),
    "not_validated": Reason(
        "Not validated yet.",
        "Run Validate store transactions.",
        "run_job",
        "Ask someone with permission to run jobs.",
    ),
    "not_calculated": Reason(
        "Valid but not yet in a statement.",
        "Calculate statements.",
        "calc_statement",
        "Ask someone with permission to calculate statements.",
    ),
    "statement_not_calculated": Reason(
        "The totals have not been calculated yet.",
        "Calculate statements, or run the end of day.",
        "calc_statement",
        "Ask someone with permission to calculate statements.",
    ),
    "statement_not_posted": Reason(
        "Calculated but not yet posted.",
        "Post statements, or run the end of day.",
        "post_statement",
        "Ask someone with permission to post statements.",
    ),
    "statement_refused": Reason(
        "The database rejected it, and no single sale is the cause.",
        "The next run tries again. To free its sales, cancel the statement.",
        "cancel_statement",
        "The next run tries again. If it fails again, ask someone with permission to cancel"
        " statements.",
    ),
    "totals_differ": Reason(
        "The totals do not match its sales.",
        "Calculate the statement again.",
        "calc_statement",
        "Ask someone with permission to calculate it again.",
    ),
    "default_customer_missing": Reason(
        "The channel has no default customer for sales to guests.",
        "Choose one in the channel's settings; the next run continues.",
        "change_channel",
        "Ask an administrator to add one.",
    ),
}


def explain(reason: str, field: str | None = None) -> str:
    """The sentence for a reason, naming the field but never its value."""
    known = REASONS.get(reason)
    return known.text.format(field=field or "row") if known else reason
