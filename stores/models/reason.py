"""Why a row waits, failed or was set aside: a code for programs, a sentence for people."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A fact about a row, and what to do next. `{field}` stands for the column's name.

    Where the next step takes a right, `otherwise` is what is left to those who lack it.
    """

    text: str
    next_step: str
    right: str = ""
    otherwise: str = ""

    def advice(self, may: Callable[[str], bool]) -> str:
        """What somebody can do of whom `may` says which rights there are."""
        return self.next_step if not self.right or may(f"stores.{self.right}") else self.otherwise


CORRECT = (
    "Correct it here or at the till; the corrected event replaces this row.",
    "resolve_quarantine",
    "Correct it at the till, or tell somebody who may correct it here.",
)
CORRECT_SALE = (
    "Correct the transaction, or all that failed alike together.",
    "mend_transaction",
    "Tell somebody who may correct transactions.",
)

REASONS = {
    "key_missing": Reason("{field}: a row needs this key.", *CORRECT),
    "guid_format": Reason("{field}: not a GUID in its canonical form.", *CORRECT),
    "guid_reserved": Reason("{field}: a GUID of zeros or ones only, which no till made.", *CORRECT),
    "unprintable": Reason("{field}: holds control characters or line breaks.", *CORRECT),
    "guid_missing": Reason("{field}: a new customer needs a temporary GUID.", *CORRECT),
    "guid_conflict": Reason(
        "{field}: another channel created this GUID and has not shared it.",
        "Find out which channel the customer belongs to; once it is shared, release the row.",
        "resolve_quarantine",
        "Find out which channel it belongs to, and tell somebody who may release rows.",
    ),
    "event_conflict": Reason(
        "{field}: HQ holds another event with this id.",
        "Compare both; the one that came first stays. Correct the row to take values of the other.",
        "resolve_quarantine",
        "The one that came first stays. Tell somebody who may compare and correct.",
    ),
    "encoding": Reason("{field}: not valid UTF-8.", *CORRECT),
    "type": Reason("{field}: holds a value of the wrong type.", *CORRECT),
    "time_format": Reason("{field}: not a time with offset.", *CORRECT),
    "date_format": Reason("{field}: not a date.", *CORRECT),
    "date_range": Reason("{field}: not between 1900 and today.", *CORRECT),
    "time_range": Reason("{field}: not between the years 1900 and 9999.", *CORRECT),
    "too_long": Reason("{field}: longer than HQ can hold.", *CORRECT),
    "unknown_word": Reason("{field}: not one of the words HQ knows.", *CORRECT),
    "name_missing": Reason("{field}: a customer needs a name.", *CORRECT),
    "value_missing": Reason("{field}: may not be empty.", *CORRECT),
    "email_format": Reason("{field}: not an e-mail address.", *CORRECT),
    "phone_format": Reason("{field}: not a phone number.", *CORRECT),
    "country_unknown": Reason("{field}: not a country of ISO 3166-1 (three letters).", *CORRECT),
    "company_mismatch": Reason("{field}: an account of another company.", *CORRECT),
    "attribute_invalid": Reason("{field}: not a value that the attribute may have.", *CORRECT),
    "corrected": Reason("A correction made at headquarters replaced it.", "Nothing to do."),
    "parent_missing": Reason(
        "The customer it belongs to has not arrived yet.",
        "Nothing to do: it is converted as soon as its customer is.",
    ),
    "parent_failed": Reason(
        "The customer it belongs to could not be converted.",
        "Mend the customer; this row follows by itself.",
    ),
    "account_unknown": Reason(
        "No customer of the company has this account number.",
        "Check the account number at the till.",
    ),
    "identity_mismatch": Reason(
        "{field}: GUID and account number name different customers.",
        "Correct it here or at the till.",
        "resolve_quarantine",
        "Correct it at the till, or tell somebody who may correct it here.",
    ),
    "belongs_to_another": Reason("{field}: belongs to another customer already.", *CORRECT),
    "refused": Reason(
        "The database refused what comes of it, and no rule had foreseen that.",
        "Correct the customer at the till, or ask an administrator: the log has the error's code.",
    ),
    "sequence_exhausted": Reason(
        "The company's number sequence is used up.",
        "Raise its largest number; the next run converts the customer.",
        "change_company",
        "Tell an administrator: its largest number must be raised.",
    ),
    "sequence_missing": Reason(
        "The company has no number sequence.",
        "Add one in the set-up; the next run converts the customer.",
        "change_company",
        "Tell an administrator: it needs one.",
    ),
    "document_incomplete": Reason(
        "{field}: the lines that the header announces never came.",
        "Correct it here with what was sold, or write it again at the till under a new number.",
        "mend_transaction",
        "Write it again at the till under a new number, or tell somebody who may correct it.",
    ),
    "document_conflict": Reason(
        "{field}: HQ holds another document with it.",
        "Compare both; the one that came first stays. Correct it here under a number of its own.",
        "mend_transaction",
        "The one that came first stays. Tell somebody who may compare and correct.",
    ),
    "document_elsewhere": Reason(
        "{field}: another channel has sent this document, as one of the same store.",
        "Find out whether both were sold. Release it if they were, dismiss it if not.",
        "resolve_quarantine",
        "Find out whether both were sold, and tell somebody who may release it.",
    ),
    "time_zone_unknown": Reason(
        "{field}: left out, and headquarters' database does not know the channel's time zone.",
        "Choose another time zone in the set-up of the channel, then release the row.",
        "change_channel",
        "Tell an administrator: the channel needs another time zone.",
    ),
    "amount_format": Reason("{field}: not an exact amount.", *CORRECT),
    "overflow": Reason("{field}: more digits than HQ can hold.", *CORRECT),
    "customer_missing": Reason(
        "{field}: the customer it names has not arrived yet.",
        "Nothing to do: it goes on as soon as the customer is here.",
    ),
    "address_missing": Reason(
        "{field}: the address it names has not arrived yet.",
        "Nothing to do: it goes on as soon as the address is here.",
    ),
    "address_of_another": Reason("{field}: the address is another customer's.", *CORRECT_SALE),
    "customer_unknown": Reason(
        "{field}: HQ has no such customer.",
        "See where the customer is in its trace, or correct the transaction.",
        "mend_transaction",
        "See where the customer is in its trace, or tell somebody who may correct sales.",
    ),
    "customer_not_active": Reason(
        "{field}: the customer's account is not active any more.", *CORRECT_SALE
    ),
    "period_closed": Reason(
        "{field}: lies in a closed fiscal period.",
        "Open the period in the set-up of the company, or correct the date.",
        "mend_transaction",
        "Tell somebody who may open the period or correct the date.",
    ),
    "business_date_far": Reason(
        "{field}: too far from the day it arrived, and from today.", *CORRECT_SALE
    ),
    "not_rounded": Reason("{field}: more places than the currency's smallest unit.", *CORRECT_SALE),
    "discount_differs": Reason("{field}: not the sum of its lines.", *CORRECT_SALE),
    "net_differs": Reason("{field}: not the sum of its lines.", *CORRECT_SALE),
    "tax_differs": Reason("{field}: not the sum of its lines.", *CORRECT_SALE),
    "gross_differs": Reason("{field}: not net and tax together.", *CORRECT_SALE),
    "line_count_differs": Reason("{field}: not the number of its lines.", *CORRECT_SALE),
    "payment_differs": Reason("{field}: not the sum of its payments.", *CORRECT_SALE),
    "nothing_sold": Reason("{field}: all its lines are voided, or it has none.", *CORRECT_SALE),
    "only_returned": Reason(
        "{field}: nothing is sold, only taken back, so it is a return.", *CORRECT_SALE
    ),
    "nothing_paid": Reason("{field}: what was paid was given back.", *CORRECT_SALE),
    "not_paid": Reason("{field}: not what the sale comes to.", *CORRECT_SALE),
    "item_missing": Reason("{field}: a line needs an article.", *CORRECT_SALE),
    "card_number": Reason(
        "{field}: the number of a payment card does not belong here.", *CORRECT_SALE
    ),
    "price_negative": Reason("{field}: a price is never negative.", *CORRECT_SALE),
    "signs_differ": Reason("{field}: its sign is not that of the quantity.", *CORRECT_SALE),
    "sign_wrong": Reason(
        "{field}: what is sold or paid is positive, what comes back negative.", *CORRECT_SALE
    ),
    "line_differs": Reason("{field}: not quantity times price less discount.", *CORRECT_SALE),
    "more_than_price": Reason("{field}: more than quantity times price.", *CORRECT_SALE),
    "payment_currency": Reason(
        "{field}: paid in another currency, and no rate is given.", *CORRECT_SALE
    ),
    "sum_too_large": Reason(
        "{field}: too large to be added up with the other sales of its day.", *CORRECT_SALE
    ),
    "sale_refused": Reason(
        "{field}: the database refused what comes of it, and no rule had foreseen that.",
        "Correct the transaction, or give it back unchanged to have it tried again. Whoever looks "
        "after the server finds the code of the error beside it.",
        "mend_transaction",
        "Tell somebody who may correct transactions.",
    ),
    "not_ordered": Reason("No sales order was made of it yet.", "Synchronize orders."),
    "nothing_ordered": Reason(
        "It orders nothing: only what was paid counts.",
        "Nothing to do: end of day posts what was paid.",
    ),
    "voided": Reason("It was voided at the till.", "Nothing to do: it is posted nowhere."),
    "statement_open": Reason(
        "Its statement is not posted yet.", "See the statement for what stands in its way."
    ),
    "being_corrected": Reason(
        "A person is correcting it.", "Nothing to do: the jobs take it afterwards."
    ),
    "not_validated": Reason(
        "It is not validated yet.",
        "Validate store transactions.",
        "run_job",
        "Tell somebody who may run jobs: it must be validated.",
    ),
    "not_calculated": Reason(
        "It is valid, and no statement has taken it yet.",
        "Calculate statements.",
        "calc_statement",
        "Tell somebody who may calculate statements.",
    ),
    "statement_not_calculated": Reason(
        "Its sales are not added up yet.", "Calculate statements, or run the end of day."
    ),
    "statement_not_posted": Reason(
        "It is calculated and not posted yet.", "Post statements, or run the end of day."
    ),
    "statement_refused": Reason(
        "The database refused it, and none of its sales alone is the cause.",
        "The next run tries again. Cancel the statement to have its sales back.",
        "cancel_statement",
        "The next run tries again. Tell somebody who may cancel statements if it fails again.",
    ),
    "totals_differ": Reason(
        "The totals are not those of its sales.",
        "Calculate the statement again.",
        "calc_statement",
        "Tell somebody who may calculate it again.",
    ),
    "default_customer_missing": Reason(
        "The channel has no default customer for sales to guests.",
        "Choose one in the set-up of the channel; the next run goes on.",
        "change_channel",
        "Tell an administrator: it needs one.",
    ),
}


def explain(reason: str, field: str | None) -> str:
    """The sentence for a reason, naming the field but never its value."""
    known = REASONS.get(reason)
    return known.text.format(field=field or "row") if known else reason
