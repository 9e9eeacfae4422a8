"""Patterns and words of values, as PostgreSQL and Python both read them."""

# With a dot in the domain, and nothing that could break the header of a mail.
EMAIL_FORM = r"^[^\s@<>,;:\\\"()\[\]]+@[^\s@<>,;:\\\"()\[\]]+\.[^\s@<>,;:\\\"()\[\].]{2,}$"
# At least three digits, with what people put between them, and an extension.
PHONE_PATTERN = (
    r"^(?=(.*[0-9]){3})[0-9+()./ xX#*,;-]+"
    r"([ ;,]*(ext|extn|extension|durchwahl|dw|poste|int|toestel|tst|ramal|anexo)[.:=]? *[0-9]+)?$"
)
LANGUAGE_FORM = r"^[A-Za-z]{2,3}([-_]([A-Za-z]{2}|[A-Za-z]{4}|[0-9]{3}))?$"
# The words that a column takes; where no other rule wants one, it may also be empty.
WORDS = {
    "customer_type": ("person", "organization"),
    "purpose": ("home", "business", "delivery", "invoice", "other"),
    "kind": ("email", "phone", "url"),
}
