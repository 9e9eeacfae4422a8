"""Rounding and tolerance of payments by currency and tender, and what they allow of one sale."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
from django.db import migrations, models

# Rounding counts only where the tender holds whole coins; a tolerance of the company is meant for a
# currency of two places, and is as many smallest units of every other. A sale that was paid nothing
# is judged by the tenders it names all the same, one that names none by the row for all others.
ALLOWED = """
CREATE FUNCTION allowed_difference(sale bigint, OUT rounding numeric, OUT tolerance numeric)
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    WITH document AS (
      SELECT t.id, t.company_id, t.currency, t.payment_amount,
             c.payment_tolerance * power(10::numeric, 2 - currency_places(t.currency)) AS usual
        FROM retail_transaction t JOIN company c ON c.code = t.company_id
       WHERE t.id = sale),
    paid AS (
      SELECT lower(p.tender_type) AS tender, sum(p.amount) AS amount
        FROM document d JOIN retail_transaction_payment p ON p.transaction_id = d.id
       WHERE p.amount <> 0 OR d.payment_amount = 0 GROUP BY 1),
    tenders AS (
      SELECT tender, amount FROM paid
       UNION ALL
      SELECT '', 0 WHERE NOT EXISTS (SELECT FROM paid))
    SELECT coalesce(max(r.rounding_unit / 2) FILTER (
                    WHERE r.rounding_unit > 0 AND mod(tenders.amount, r.rounding_unit) = 0), 0),
           coalesce(max(coalesce(r.tolerance, document.usual)), 0)
      FROM document CROSS JOIN tenders
      LEFT JOIN LATERAL (
           SELECT s.rounding_unit, s.tolerance FROM payment_rounding s
            WHERE s.company_id = document.company_id AND s.currency = document.currency
              AND lower(s.tender_type) IN (tenders.tender, '')
            ORDER BY s.tender_type = '' LIMIT 1) r ON true
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0053_restored"), ("stores", "0057_rights")]

    operations = [
        migrations.AlterField(
            model_name="company",
            name="payment_tolerance",
            field=models.DecimalField(
                decimal_places=4,
                default=0,
                help_text="How far payments may be off the total of a sale where no payment "
                "rounding says it. 0.50 is 50 of the currency's smallest units: USD 0.50, JPY 50, "
                "KWD 0.050.",
                max_digits=18,
            ),
        ),
        migrations.CreateModel(
            name="PaymentRounding",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "currency",
                    models.CharField(
                        max_length=3,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[A-Z]{3}\\Z", "Three capital letters."
                            )
                        ],
                    ),
                ),
                (
                    "tender_type",
                    models.CharField(
                        blank=True,
                        help_text="As tills write it, such as cash; empty for all others.",
                        max_length=20,
                        verbose_name="tender",
                    ),
                ),
                (
                    "rounding_unit",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text="The smallest coin: 0.05 rounds to the nearest multiple. 0 for "
                        "none.",
                        max_digits=18,
                    ),
                ),
                (
                    "tolerance",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text="How far off payments may be besides, instead of the company's "
                        "tolerance.",
                        max_digits=18,
                    ),
                ),
                (
                    "company",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment_roundings",
                        to="stores.company",
                    ),
                ),
            ],
            options={
                "db_table": "payment_rounding",
                "ordering": ["company", "currency", "tender_type"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("company"),
                        models.F("currency"),
                        django.db.models.functions.text.Lower("tender_type"),
                        name="a_tender_is_rounded_in_one_way",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rounding_unit__gte", 0), ("tolerance__gte", 0)),
                        name="no_rounding_is_negative",
                    ),
                ],
            },
        ),
        migrations.RunSQL(ALLOWED, "DROP FUNCTION allowed_difference(bigint)"),
    ]
