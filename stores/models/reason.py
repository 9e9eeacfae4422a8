"""Why a row waits, failed or was set aside: a code for programs, a sentence for people."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """A fact about a row, and what to do next. `{field}` stands for the column's name."""

    text: str
    next_step: str


CORRECT = "Correct the customer at the till; the corrected event replaces this row."

REASONS = {
    "key_missing": Reason("{field}: a row needs this key.", CORRECT),
    "guid_format": Reason("{field}: not a GUID in its canonical form.", CORRECT),
    "guid_missing": Reason("{field}: a new customer needs a temporary GUID.", CORRECT),
    "guid_conflict": Reason(
        "{field}: another channel created this GUID and has not shared it.",
        "Find out which channel the customer belongs to.",
    ),
    "event_conflict": Reason(
        "{field}: HQ holds another event with this id.",
        "Compare both; the one that came first stays.",
    ),
    "encoding": Reason("{field}: not valid UTF-8.", CORRECT),
    "type": Reason("{field}: holds a value of the wrong type.", CORRECT),
    "time_format": Reason("{field}: not a time with offset.", CORRECT),
    "date_format": Reason("{field}: not a date.", CORRECT),
    "date_range": Reason("{field}: not between 1900 and today.", CORRECT),
    "time_range": Reason("{field}: not between the years 1900 and 9999.", CORRECT),
    "too_long": Reason("{field}: longer than HQ can hold.", CORRECT),
    "unknown_word": Reason("{field}: not one of the words HQ knows.", CORRECT),
    "name_missing": Reason("{field}: a customer needs a name.", CORRECT),
    "value_missing": Reason("{field}: may not be empty.", CORRECT),
    "email_format": Reason("{field}: not an e-mail address.", CORRECT),
    "phone_format": Reason("{field}: not a phone number.", CORRECT),
    "country_unknown": Reason("{field}: not a country of ISO 3166-1 (three letters).", CORRECT),
    "company_mismatch": Reason("{field}: an account of another company.", CORRECT),
    "attribute_invalid": Reason("{field}: not a value that the attribute may have.", CORRECT),
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
        "{field}: GUID and account number name different customers.", CORRECT
    ),
    "belongs_to_another": Reason("{field}: belongs to another customer already.", CORRECT),
    "sequence_exhausted": Reason(
        "The company's number sequence is used up.",
        "Raise its largest number; the next run converts the customer.",
    ),
    "sequence_missing": Reason(
        "The company has no number sequence.",
        "Add one in the set-up; the next run converts the customer.",
    ),
}


def explain(reason: str, field: str | None) -> str:
    """The sentence for a reason, naming the field but never its value."""
    known = REASONS.get(reason)
    return known.text.format(field=field or "row") if known else reason
