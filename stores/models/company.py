"""Companies, how they number their accounts, and how exactly their sales must be paid.

An *account* is a customer that headquarters has accepted; its account number is unique within the
company. A *tender* is a means of payment, such as cash, by the name that a till gives it.
"""

import re

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from stores.hqdb.sql import fetch_value


class Company(models.Model):
    """A legal entity, to which channels and customers belong.

    The command create_channel makes it with its first channel. Once it has customers, it cannot be
    deleted.
    """

    code = models.CharField(max_length=4, primary_key=True)
    name = models.CharField(max_length=100)
    closed_until = models.DateField(
        null=True, blank=True, help_text="Last day of the closed fiscal periods."
    )
    payment_tolerance = models.DecimalField(
        max_digits=18,
        decimal_places=4,
        default=0,
        help_text=(
            "How far payments may differ from the total of a sale where no payment rounding"
            " applies, in hundreds of the currency's smallest unit: 0.50 is 50 cents, 50 yen or"
            " 50 fils."
        ),
    )
    known_attributes_only = models.BooleanField(
        default=False,
        db_default=False,
        help_text="On: events with an attribute that is not defined go to quarantine.",
    )
    known_affiliations_only = models.BooleanField(
        default=False,
        db_default=False,
        help_text="On: events with an affiliation that is not defined go to quarantine.",
    )
    # The number of the latest change of a customer. Whoever takes the next one locks this row until
    # the commit, so that changes become visible in the order of their numbers.
    change_no = models.BigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        db_table = "company"
        constraints = [
            models.CheckConstraint(
                condition=Q(payment_tolerance__gte=0), name="a_tolerance_is_not_negative"
            ),
        ]
        ordering = ["code"]
        verbose_name_plural = "companies"

    def __str__(self) -> str:
        return self.code


class PaymentRounding(models.Model):
    """How much the payments of a sale may differ from its total, in one currency and tender.

    Cash is rounded to the smallest coin, for example. The SQL function allowed_difference applies
    the row: validation accepts a sale within the difference, and posting records it.
    """

    id = models.BigAutoField(primary_key=True)
    company = models.ForeignKey(
        Company, models.PROTECT, db_index=False, related_name="payment_roundings"
    )
    currency = models.CharField(
        max_length=3, validators=[RegexValidator(r"\A[A-Z]{3}\Z", "Three capital letters.")]
    )
    tender_type = models.CharField(
        "tender",
        max_length=20,
        blank=True,
        help_text="As tills write it, such as cash; empty for all others.",
    )
    rounding_unit = models.DecimalField(
        max_digits=18,
        decimal_places=4,
        default=0,
        help_text="The smallest coin: 0.05 rounds to the nearest multiple. 0 for none.",
    )
    tolerance = models.DecimalField(
        max_digits=18,
        decimal_places=4,
        default=0,
        help_text=(
            "How far payments may differ in addition to the rounding, in this currency. It replaces"
            " the company's tolerance."
        ),
    )

    class Meta:
        db_table = "payment_rounding"
        constraints = [
            models.UniqueConstraint(
                "company", "currency", Lower("tender_type"), name="a_tender_is_rounded_in_one_way"
            ),
            models.CheckConstraint(
                condition=Q(rounding_unit__gte=0, tolerance__gte=0),
                name="no_rounding_is_negative",
            ),
        ]
        ordering = ["company", "currency", "tender_type"]

    def __str__(self) -> str:
        return f"{self.company_id} {self.currency} {self.tender_type}".rstrip()


def check_format(value: str) -> None:
    """Refuse a format that has not exactly one run of #, or has characters that none may have."""
    if len(re.findall(r"#+", value)) != 1:
        raise ValidationError("The format needs exactly one run of #, for example C-######.")
    if not re.fullmatch(r"[A-Z0-9#./-]+", value):
        raise ValidationError("The format may hold capital letters, digits and - . / besides #.")


class NumberSequence(models.Model):
    """The account numbers of one company, which have no gaps.

    The conversion of uploaded customers issues the numbers, from `next` on. An account may also be
    imported with a number from elsewhere, which must lie outside the sequence.

    Triggers keep `next` from decreasing (the_next_number_never_falls), and `format` and `start`
    from changing once a number was issued (the_format_is_frozen_once_used).
    """

    company = models.OneToOneField(Company, models.PROTECT, primary_key=True)
    format = models.CharField(
        max_length=20,
        validators=[check_format],
        help_text="One run of # stands for the number, the rest stays: C-###### or 00####.",
    )
    start = models.BigIntegerField("smallest", default=1, help_text="The number issued first.")
    largest = models.BigIntegerField(help_text="The number issued last.")
    next = models.BigIntegerField(help_text="The number that the next customer gets.")

    class Meta:
        db_table = "number_sequence"
        constraints = [
            models.CheckConstraint(
                condition=Q(start__gte=0, next__gte=F("start")), name="next_number_is_in_range"
            ),
            models.CheckConstraint(
                condition=Q(next__lte=F("largest") + 1), name="no_number_beyond_the_largest"
            ),
            models.CheckConstraint(
                condition=Q(format__regex=r"^[A-Z0-9./-]*#+[A-Z0-9./-]*$"),
                name="number_format_has_one_run",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.company_id} {self.format}"

    def clean(self) -> None:
        """Refuse a range that does not fit the format, or that holds an imported account.

        Constraints alone check `next`, which people do not enter.
        """
        if self.start is not None and self.start < 0:
            raise ValidationError({"start": "May not be negative."})
        if self.start is None or self.largest is None or not self.format:
            # The missing field has an error of its own.
            return
        if self.largest < self.start:
            raise ValidationError({"largest": "Must not be smaller than the smallest."})
        if self.largest >= 10**self.digits:
            raise ValidationError(
                {"largest": f"Does not fit into the {self.digits} # of the format."}
            )
        if self.covers_imported_account():
            raise ValidationError({"largest": "An imported account lies in this range."})

    def covers_imported_account(self) -> bool:
        """Whether an imported account has a number that this sequence would issue, too."""
        # number IS NULL: the account was imported. Accounts from the sequence have it set.
        # parse_number is in migrations/sql/account_numbers.sql.
        is_covered = fetch_value(
            """SELECT EXISTS (
                   SELECT FROM customer
                    WHERE company_id = %(company)s
                      AND number IS NULL
                      AND parse_number(%(format)s, account_number)
                          BETWEEN %(start)s AND %(largest)s)""",
            {
                "company": self.company_id,
                "format": self.format,
                "start": self.start,
                "largest": self.largest,
            },
        )
        return bool(is_covered)

    @property
    def digits(self) -> int:
        """How many digits an account number has."""
        return self.format.count("#")

    @property
    def remaining(self) -> int:
        """How many numbers can still be issued."""
        return self.largest - self.next + 1
