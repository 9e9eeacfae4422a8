"""Numbers of payment cards in texts where none belongs: they are named by a rule and never shown.

The same shapes as in the SQL function `holds_card_number`: groups as they are printed on cards, a
prefix that issuers have, and Luhn's check digit. Shorter numbers are bar codes.
"""

import re

CARD_PATTERNS = (
    r"(?<![0-9])[2-6][0-9]{3}(?:[ -]?[0-9]{4}){3}(?![0-9])",
    r"(?<![0-9])[456][0-9]{3}(?:[ -]?[0-9]{4}){3}[ -]?[0-9]{3}(?![0-9])",
    r"(?<![0-9])3[04-9][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}(?![0-9])",
)
ISSUER_PREFIX = re.compile(
    r"4[0-9]+|5[0-9]+|2(2[2-9]|[3-6]|7[01]|720)[0-9]+|6[0-9]+|35[0-9]{14}|3[47][0-9]{13}"
    r"|3(0[0-5]|[689][0-9])[0-9]{11}"
)


def is_card_number(digits: str) -> bool:
    """Whether digits are those of a card: an issuer's prefix, and the check digit."""
    odd, even = digits[-1::-2], digits[-2::-2]
    total = sum(map(int, odd)) + sum(sum(map(int, str(2 * int(digit)))) for digit in even)
    return total % 10 == 0 and ISSUER_PREFIX.fullmatch(digits) is not None


def mask_cards(text: str) -> str:
    """A text in which only the last four digits of a card's number are left."""

    def replacement(match: re.Match[str]) -> str:
        digits = re.sub("[ -]", "", match[0])
        return f"\u2022\u2022\u2022\u2022 {digits[-4:]}" if is_card_number(digits) else match[0]

    for shape in CARD_PATTERNS:
        text = re.sub(shape, replacement, text)
    return text
