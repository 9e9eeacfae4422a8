"""Normalization: removes blanks of every kind and invisible letters.

The SQL functions of `migrations/sql/normalization.sql` do the same. A test compares both, letter by
letter.
"""

import re
import unicodedata

# Blanks of every kind, and letters that look like one. In a key the odd ones become plain blanks.
ODD_BLANK = (
    "\x85\xa0\u115f\u1160\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000\u3164\uffa0"
)
BLANK = "\t-\r\x1c- " + ODD_BLANK
CONTROL = "\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"
# Soft hyphen, zero-width letters, direction marks, byte order mark. They can be removed everywhere.
HIDDEN = (
    "\xad\u034f\u061c\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
# They join or separate letters of Arabic and Indian scripts and emoji, so they stay inside a name.
JOINER = "\u200c\u200d"
# They choose the shape of the letter before them, also at the end of Japanese names.
SELECTOR = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0000-\U000e007f\U000e0100-\U000e01ef"
# After these signs a joiner at the end of a word is visible: old Malayalam and Bengali spellings.
VIRAMA = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"

INVISIBLE_ENDS = re.compile(
    rf"^[{BLANK}{CONTROL}{HIDDEN}{JOINER}{SELECTOR}]+"
    rf"|(?:[{BLANK}{CONTROL}{HIDDEN}{JOINER}](?<![{VIRAMA}]\u200d))+\Z"
)
# Signs that people write instead of a hyphen.
DASHES = re.compile("[\u2010-\u2015\u2212\u30fc]")
NEVER_IN_KEYS = re.compile(f"[{HIDDEN}{JOINER}{SELECTOR}]")
ODD_BLANKS = re.compile(f"[{ODD_BLANK}]")
# Texts for people to read. All others are compared or looked up, and lose their invisible letters.
NAME_COLUMNS = ("title", "first_name", "middle_name", "last_name", "name")
PROSE_COLUMNS = (*NAME_COLUMNS, "description", "building", "street", "city", "value")


def normalize_text(text: str) -> str:
    """A text without blanks and invisible letters at its ends, in NFC."""
    return unicodedata.normalize("NFC", INVISIBLE_ENDS.sub("", text))


def normalize_key(text: str) -> str:
    """A tidy text to be compared or looked up, with no invisible letters inside it either."""
    return normalize_text(ODD_BLANKS.sub(" ", NEVER_IN_KEYS.sub("", text)))


def normalize_phone(text: str) -> str:
    """A phone number with ASCII digits and plain hyphens, and without `tel:`."""
    text = DASHES.sub("-", unicodedata.normalize("NFKC", normalize_key(text)))
    digits = "".join(
        str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text
    )
    return re.sub("^tel: *", "", digits, flags=re.IGNORECASE).strip(" ")


def normalize_email(text: str) -> str:
    """A mail address as a key, with letters of one width and its domain in lower case."""
    name, at, domain = unicodedata.normalize("NFKC", normalize_key(text)).partition("@")
    return name + at + domain.lower() if at else name.lower()


def normalize_value(column: str, text: str, *, kind: str | None = None) -> str:
    """The text of an event's column; `kind` is that of a contact with its locator."""
    if column in ("email", "receipt_email") or (column == "locator" and kind == "email"):
        return normalize_email(text)
    if column == "phone" or (column == "locator" and kind == "phone"):
        return normalize_phone(text)
    return normalize_text(text) if column in PROSE_COLUMNS else normalize_key(text)
