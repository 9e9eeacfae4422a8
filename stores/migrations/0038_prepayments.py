"""Payments of customer orders in the statements of their days, and differences by name."""

import django.db.models.deletion
from django.db import migrations, models

import stores.models.transaction

# What is posted says itself by which statement and for whom. It never changes: the guard stands
# aside for this once.
SAY_WHOSE = """
ALTER TABLE posted_payment DISABLE TRIGGER posted_payments_are_kept;
UPDATE posted_payment p SET statement_id = o.statement_id, customer_id = o.customer_id
  FROM sales_order o WHERE o.id = p.sales_order_id;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE posted_payment ENABLE TRIGGER posted_payments_are_kept;
"""

GUARDS = """
-- An order may still be corrected when its prepayments are posted, but not whom and what they say.
CREATE FUNCTION a_posted_prepayment_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s
                WHERE s.id = OLD.prepayment_statement_id AND s.state = 'posted') THEN
        RAISE EXCEPTION 'retail_transaction: its prepayment is posted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_posted_prepayment_is_kept BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.prepayment_statement_id IS NOT NULL
          AND (OLD.prepayment_statement_id, OLD.transaction_id, OLD.transaction_type,
               OLD.entry_status, OLD.business_date, OLD.currency, OLD.payment_amount,
               OLD.customer_id, OLD.async_account, OLD.account_number)
              IS DISTINCT FROM
              (NEW.prepayment_statement_id, NEW.transaction_id, NEW.transaction_type,
               NEW.entry_status, NEW.business_date, NEW.currency, NEW.payment_amount,
               NEW.customer_id, NEW.async_account, NEW.account_number))
    EXECUTE FUNCTION a_posted_prepayment_is_kept();

CREATE OR REPLACE FUNCTION a_cancelled_statement_has_no_sales() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t WHERE t.statement_id = NEW.id)
       OR EXISTS (SELECT FROM retail_transaction t WHERE t.prepayment_statement_id = NEW.id) THEN
        RAISE EXCEPTION 'statement: a cancelled one has no sales'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION parts_of_a_settled_transaction_are_frozen() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t
                 LEFT JOIN statement s ON s.id = t.statement_id
                 LEFT JOIN statement p ON p.id = t.prepayment_statement_id
                WHERE t.id = OLD.transaction_id
                  AND (t.sales_order_id IS NOT NULL OR s.state = 'posted'
                       OR p.state = 'posted' AND TG_TABLE_NAME = 'retail_transaction_payment')) THEN
        RAISE EXCEPTION '%: its transaction is posted', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""

# An order that was paid something is left out of its day like a sale, with what was paid.
EXCLUDED = """
CREATE OR REPLACE VIEW excluded_sale AS
SELECT t.id AS transaction_id, t.channel_id, t.business_date, t.currency,
       CASE t.transaction_type WHEN 'customer_order' THEN t.payment_amount
            ELSE t.gross_amount END AS gross_amount,
       CASE WHEN t.entry_status <> 'concluded' THEN t.entry_status::text
            WHEN s.id IS NOT NULL THEN 'statement_open'
            WHEN t.validation_status = 'error' THEN coalesce(broken.rule, '')::text
            WHEN t.editing_until >= now() THEN 'being_corrected'
            WHEN t.validation_status = 'none' THEN 'not_validated'
            ELSE 'not_calculated' END AS reason,
       CASE WHEN t.entry_status = 'concluded' AND s.id IS NULL
            THEN coalesce(broken.field, '') ELSE '' END AS field
  FROM retail_transaction t
  LEFT JOIN statement s ON s.id = coalesce(t.statement_id, t.prepayment_statement_id)
  LEFT JOIN LATERAL (
       SELECT e.rule, e.field FROM transaction_error e
        WHERE t.validation_status = 'error' AND e.transaction_id = t.id
        ORDER BY e.id LIMIT 1) broken ON true
 WHERE s.state IS DISTINCT FROM 'posted'
   AND (t.transaction_type IN ('sale', 'return')
        OR EXISTS (SELECT FROM retail_transaction_payment p WHERE p.transaction_id = t.id))
"""


class Migration(migrations.Migration):
    """Forward only: the books would lose what drawers took."""

    dependencies = [("stores", "0042_staged_says_why")]

    operations = [
        migrations.AddField(
            model_name="retailtransaction",
            name="prepayment_statement",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prepaid_orders",
                to="stores.statement",
            ),
        ),
        migrations.AddIndex(
            model_name="retailtransaction",
            index=models.Index(
                condition=models.Q(
                    models.Q(("payment_amount", 0), _negated=True),
                    ("prepayment_statement__isnull", True),
                    ("transaction_type", "customer_order"),
                ),
                fields=["channel", "business_date"],
                name="prepayment_open",
            ),
        ),
        migrations.AddIndex(
            model_name="retailtransaction",
            index=models.Index(
                condition=models.Q(("prepayment_statement__isnull", False)),
                fields=["prepayment_statement"],
                name="prepayment_of_statement",
            ),
        ),
        migrations.AddField(
            model_name="statementtender",
            name="prepaid_amount",
            field=stores.models.transaction.MoneyField(
                db_default=0,
                decimal_places=4,
                help_text="Of it for customer orders.",
                max_digits=18,
            ),
        ),
        migrations.RemoveConstraint(
            model_name="postedpayment", name="a_tender_is_posted_once_an_order"
        ),
        migrations.AddField(
            model_name="postedpayment",
            name="kind",
            field=models.CharField(
                choices=[
                    ("payment", "Payment"),
                    ("prepayment", "Prepayment"),
                    ("rounding_difference", "Rounding difference"),
                    ("payment_difference", "Payment difference"),
                ],
                db_default="payment",
                max_length=19,
            ),
        ),
        migrations.AddField(
            model_name="postedpayment",
            name="statement",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="stores.statement",
            ),
        ),
        migrations.AddField(
            model_name="postedpayment",
            name="customer",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="stores.customer",
            ),
        ),
        migrations.AddField(
            model_name="postedpayment",
            name="transaction",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prepayments",
                to="stores.retailtransaction",
            ),
        ),
        migrations.RunSQL(SAY_WHOSE),
        migrations.AlterField(
            model_name="postedpayment",
            name="statement",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="stores.statement",
            ),
        ),
        migrations.AlterField(
            model_name="postedpayment",
            name="customer",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="stores.customer",
            ),
        ),
        migrations.AlterField(
            model_name="postedpayment",
            name="sales_order",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="stores.salesorder",
            ),
        ),
        migrations.AlterField(
            model_name="postedpayment",
            name="tender_type",
            field=models.CharField(blank=True, max_length=20),
        ),
        migrations.AddConstraint(
            model_name="postedpayment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("sales_order__isnull", False)),
                fields=("sales_order", "kind", "tender_type", "currency"),
                name="a_tender_is_posted_once_an_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="postedpayment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("transaction__isnull", False)),
                fields=("transaction", "tender_type", "currency"),
                name="a_prepayment_is_posted_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="postedpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "payment",
                            "prepayment",
                            "rounding_difference",
                            "payment_difference",
                        ],
                    )
                ),
                name="payment_kind_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="postedpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("kind", "prepayment"),
                        ("sales_order__isnull", True),
                        ("transaction__isnull", False),
                    ),
                    models.Q(
                        models.Q(("kind", "prepayment"), _negated=True),
                        ("sales_order__isnull", False),
                        ("transaction__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="a_prepayment_names_the_till_s_document",
            ),
        ),
        migrations.RunSQL(GUARDS),
        migrations.RunSQL(EXCLUDED),
    ]
