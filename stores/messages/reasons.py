"""Why a row waits, failed or was quarantined: a code for programs, a sentence for people."""

from collections.abc import Callable
from dataclasses import dataclass

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _


@dataclass(frozen=True)
class Reason:
    """A fact about a row, and what to do next. `%(field)s` stands for the column's name.

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
DEFINE = (
    "Correct it, or define it in the settings and release the row.",
    "resolve_quarantine",
    "Ask an administrator to define it, or someone with permission to correct it.",
)
CORRECT_SALE = (
    "Correct the transaction, or all transactions with the same error at once.",
    "mend_transaction",
    "Ask someone with permission to correct transactions.",
)

REASONS = {
    "key_missing": Reason(_("%(field)s: this key is required."), *CORRECT),
    "guid_format": Reason(_("%(field)s: not a GUID in canonical form."), *CORRECT),
    "guid_reserved": Reason(_("%(field)s: a GUID of all zeros or all ones is reserved."), *CORRECT),
    "unprintable": Reason(_("%(field)s: contains control characters or line breaks."), *CORRECT),
    "guid_missing": Reason(_("%(field)s: a new customer needs a temporary GUID."), *CORRECT),
    "guid_conflict": Reason(
        _("%(field)s: another channel created this GUID and has not shared it."),
        "Find out which channel the customer belongs to. Once the GUID is shared, release the row.",
        "resolve_quarantine",
        "Find out which channel it belongs to, and ask someone with permission to release rows.",
    ),
    "event_conflict": Reason(
        _("%(field)s: headquarters already has a different event with this ID."),
        "Compare the two; the first to arrive is kept. To use values of this row, correct it.",
        "resolve_quarantine",
        "The first to arrive is kept. Ask someone with permission to compare and correct them.",
    ),
    "encoding": Reason(_("%(field)s: not valid UTF-8."), *CORRECT),
    "type": Reason(_("%(field)s: wrong type of value."), *CORRECT),
    "time_format": Reason(_("%(field)s: not a time with a UTC offset."), *CORRECT),
    "date_format": Reason(_("%(field)s: not a date."), *CORRECT),
    "date_range": Reason(_("%(field)s: not between 1900 and today."), *CORRECT),
    "time_range": Reason(_("%(field)s: not between the years 1900 and 9999."), *CORRECT),
    "too_long": Reason(_("%(field)s: too long."), *CORRECT),
    "unknown_word": Reason(_("%(field)s: not one of the allowed values."), *CORRECT),
    "name_missing": Reason(_("%(field)s: a customer needs a name."), *CORRECT),
    "value_missing": Reason(_("%(field)s: must not be empty."), *CORRECT),
    "email_format": Reason(_("%(field)s: not an e-mail address."), *CORRECT),
    "phone_format": Reason(_("%(field)s: not a phone number."), *CORRECT),
    "country_unknown": Reason(
        _("%(field)s: not an ISO 3166-1 country code (three letters)."), *CORRECT
    ),
    "company_mismatch": Reason(_("%(field)s: the account belongs to another company."), *CORRECT),
    "attribute_invalid": Reason(_("%(field)s: not a valid value for the attribute."), *CORRECT),
    "attribute_unknown": Reason(_("%(field)s: no such attribute is defined."), *DEFINE),
    "affiliation_unknown": Reason(_("%(field)s: no such affiliation is defined."), *DEFINE),
    "corrected": Reason(
        _("It was replaced by a correction made at headquarters."), "Nothing to do."
    ),
    "parent_missing": Reason(
        _("The customer it belongs to has not arrived yet."),
        "Nothing to do: it is converted as soon as its customer is.",
    ),
    "parent_failed": Reason(
        _("The customer it belongs to could not be converted."),
        "Correct the customer; this row then follows automatically.",
    ),
    "account_unknown": Reason(
        _("No customer of the company has this account number."),
        "Check the account number at the till.",
    ),
    "identity_mismatch": Reason(
        _("%(field)s: the GUID and the account number identify different customers."),
        "Correct it here or at the till.",
        "resolve_quarantine",
        "Correct it at the till, or ask someone with permission to correct it here.",
    ),
    "belongs_to_another": Reason(_("%(field)s: already belongs to another customer."), *CORRECT),
    "refused": Reason(
        _("The database rejected the result, and no validation rule covers the cause."),
        "Correct the customer at the till, or ask an administrator: the log has the error code.",
    ),
    "sequence_exhausted": Reason(
        _("The company's number sequence is used up."),
        "Raise its highest number; the next run converts the customer.",
        "change_company",
        "Ask an administrator to raise its highest number.",
    ),
    "sequence_missing": Reason(
        _("The company has no number sequence."),
        "Add one in the settings; the next run converts the customer.",
        "change_company",
        "Ask an administrator to add one.",
    ),
    "document_incomplete": Reason(
        _("%(field)s: some of the lines announced by the header never arrived."),
        "Correct it here with what was sold, or enter it again at the till under a new number.",
        "mend_transaction",
        "Enter it again at the till under a new number, or ask someone with permission to correct"
        " it.",
    ),
    "document_conflict": Reason(
        _("%(field)s: headquarters already has a different document with this number."),
        "Compare the two; the first to arrive is kept. Correct this one here under a new number.",
        "mend_transaction",
        "The first to arrive is kept. Ask someone with permission to compare and correct them.",
    ),
    "document_elsewhere": Reason(
        _("%(field)s: another channel has already sent this document for the same store."),
        "Find out whether both sales took place. If so, release this one; if not, dismiss it.",
        "resolve_quarantine",
        "Find out whether both sales took place, and ask someone with permission to release it.",
    ),
    "time_zone_unknown": Reason(
        _("%(field)s: missing, and headquarters' database does not know the channel's time zone."),
        "Choose another time zone in the channel's settings, then release the row.",
        "change_channel",
        "Ask an administrator to choose another time zone for the channel.",
    ),
    "amount_format": Reason(_("%(field)s: not an exact amount."), *CORRECT),
    "overflow": Reason(_("%(field)s: too many digits."), *CORRECT),
    "customer_missing": Reason(
        _("%(field)s: the customer it names has not arrived yet."),
        "Nothing to do: processing continues as soon as the customer arrives.",
    ),
    "address_missing": Reason(
        _("%(field)s: the address it names has not arrived yet."),
        "Nothing to do: processing continues as soon as the address arrives.",
    ),
    "address_of_another": Reason(
        _("%(field)s: the address belongs to another customer."), *CORRECT_SALE
    ),
    "customer_unknown": Reason(
        _("%(field)s: headquarters has no such customer."),
        "Trace the customer to see where it is, or correct the transaction.",
        "mend_transaction",
        "Trace the customer to see where it is, or ask someone with permission to correct"
        " transactions.",
    ),
    "customer_not_active": Reason(
        _("%(field)s: the customer's account is no longer active."), *CORRECT_SALE
    ),
    "period_closed": Reason(
        _("%(field)s: in a closed fiscal period."),
        "Open the period in the company's settings, or correct the date.",
        "mend_transaction",
        "Ask someone with permission to open the period or correct the date.",
    ),
    "business_date_far": Reason(
        _("%(field)s: too far from the day it arrived and from today."), *CORRECT_SALE
    ),
    "not_rounded": Reason(
        _("%(field)s: more decimal places than the currency has."), *CORRECT_SALE
    ),
    "discount_differs": Reason(_("%(field)s: does not equal the sum of its lines."), *CORRECT_SALE),
    "net_differs": Reason(_("%(field)s: does not equal the sum of its lines."), *CORRECT_SALE),
    "tax_differs": Reason(_("%(field)s: does not equal the sum of its lines."), *CORRECT_SALE),
    "gross_differs": Reason(_("%(field)s: does not equal net plus tax."), *CORRECT_SALE),
    "line_count_differs": Reason(
        _("%(field)s: does not equal the number of its lines."), *CORRECT_SALE
    ),
    "payment_differs": Reason(
        _("%(field)s: does not equal the sum of its payments."), *CORRECT_SALE
    ),
    "nothing_sold": Reason(_("%(field)s: all lines are voided, or there are none."), *CORRECT_SALE),
    "only_returned": Reason(
        _("%(field)s: items are only returned, so this must be a return."), *CORRECT_SALE
    ),
    "nothing_paid": Reason(_("%(field)s: everything that was paid was refunded."), *CORRECT_SALE),
    "not_paid": Reason(_("%(field)s: does not equal the total of the sale."), *CORRECT_SALE),
    "item_missing": Reason(_("%(field)s: a line needs an item."), *CORRECT_SALE),
    "card_number": Reason(_("%(field)s: must not contain a payment card number."), *CORRECT_SALE),
    "price_negative": Reason(_("%(field)s: must not be negative."), *CORRECT_SALE),
    "signs_differ": Reason(
        _("%(field)s: its sign differs from that of the quantity."), *CORRECT_SALE
    ),
    "sign_wrong": Reason(
        _("%(field)s: sales and payments must be positive, returns and refunds negative."),
        *CORRECT_SALE,
    ),
    "line_differs": Reason(
        _("%(field)s: does not equal quantity times price minus discount."), *CORRECT_SALE
    ),
    "more_than_price": Reason(_("%(field)s: more than quantity times price."), *CORRECT_SALE),
    "payment_currency": Reason(
        _("%(field)s: paid in another currency without an exchange rate."), *CORRECT_SALE
    ),
    "sum_too_large": Reason(
        _("%(field)s: too large to add to the other sales of the day."), *CORRECT_SALE
    ),
    "sale_refused": Reason(
        _("%(field)s: the database rejected the result, and no validation rule covers the cause."),
        "Correct the transaction, or retry it unchanged. The error code shown with it helps"
        " whoever looks after the server.",
        "mend_transaction",
        "Ask someone with permission to correct transactions.",
    ),
    "not_ordered": Reason(
        _("No sales order has been created yet."),
        "Run Synchronize orders.",
        "run_job",
        "Ask someone with permission to run jobs.",
    ),
    "nothing_ordered": Reason(
        _("It orders nothing; only its payments count."),
        "Nothing to do: the end of day posts its payments.",
    ),
    "voided": Reason(_("It was voided at the till."), "Nothing to do: it is never posted."),
    "statement_open": Reason(
        _("Its statement has not been posted yet."),
        "Open the statement to see what is blocking it.",
    ),
    "being_corrected": Reason(
        _("Someone is correcting it."), "Nothing to do: jobs process it afterwards."
    ),
    "not_validated": Reason(
        _("Not validated yet."),
        "Run Validate store transactions.",
        "run_job",
        "Ask someone with permission to run jobs.",
    ),
    "not_calculated": Reason(
        _("Valid but not yet in a statement."),
        "Calculate statements.",
        "calc_statement",
        "Ask someone with permission to calculate statements.",
    ),
    "statement_not_calculated": Reason(
        _("The totals have not been calculated yet."),
        "Calculate statements, or run the end of day.",
        "calc_statement",
        "Ask someone with permission to calculate statements.",
    ),
    "statement_not_posted": Reason(
        _("Calculated but not yet posted."),
        "Post statements, or run the end of day.",
        "post_statement",
        "Ask someone with permission to post statements.",
    ),
    "statement_refused": Reason(
        _("The database rejected it, and no single sale is the cause."),
        "The next run tries again. To free its sales, cancel the statement.",
        "cancel_statement",
        "The next run tries again. If it fails again, ask someone with permission to cancel"
        " statements.",
    ),
    "totals_differ": Reason(
        _("The totals do not match its sales."),
        "Calculate the statement again.",
        "calc_statement",
        "Ask someone with permission to calculate it again.",
    ),
    "default_customer_missing": Reason(
        _("The channel has no default customer for sales to guests."),
        "Choose one in the channel's settings; the next run continues.",
        "change_channel",
        "Ask an administrator to add one.",
    ),
}


def explain(reason: str, field: str | None = None) -> str:
    """The sentence for a reason, naming the field but never its value."""
    known = REASONS.get(reason)
    return gettext(known.text) % {"field": field or "row"} if known else reason
