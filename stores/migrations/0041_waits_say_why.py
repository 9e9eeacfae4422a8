"""What waits says why, and a statement that is not posted can be cancelled."""

from django.conf import settings
from django.db import migrations, models

# What was there before: an order that nobody has tried, a statement on its way.
FILL = """
SET CONSTRAINTS ALL IMMEDIATE;
UPDATE retail_transaction SET order_reason = 'not_ordered'
 WHERE transaction_type = 'customer_order' AND entry_status = 'concluded'
   AND sales_order_id IS NULL AND coalesce(order_reason, '') = '';
UPDATE statement SET reason = CASE WHEN calculated_at IS NULL OR state IN ('started', 'marked')
                                   THEN 'statement_not_calculated' ELSE 'statement_not_posted' END
 WHERE state <> 'posted' AND reason = '';
"""

# A column that a trigger looks at keeps its type.
BEFORE = "DROP TRIGGER a_sales_order_moves_forward ON sales_order"

AFTER = """
CREATE TRIGGER a_sales_order_moves_forward BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN ((OLD.id, OLD.company_id, OLD.channel_id, OLD.number, OLD.confirmation_number,
           OLD.statement_id, OLD.customer_id, OLD.business_date, OLD.currency, OLD.net_amount,
           OLD.tax_amount, OLD.gross_amount, OLD.discount_amount)
          IS DISTINCT FROM
          (NEW.id, NEW.company_id, NEW.channel_id, NEW.number, NEW.confirmation_number,
           NEW.statement_id, NEW.customer_id, NEW.business_date, NEW.currency, NEW.net_amount,
           NEW.tax_amount, NEW.gross_amount, NEW.discount_amount)
          OR (OLD.invoice_number IS NOT NULL AND OLD.invoice_number IS DISTINCT FROM NEW.invoice_number)
          OR (OLD.state, NEW.state) NOT IN (
              ('open', 'open'), ('on_hold', 'on_hold'), ('invoiced', 'invoiced'),
              ('on_hold', 'open'), ('open', 'on_hold'), ('open', 'invoiced'),
              ('open', 'cancelled'), ('invoiced', 'cancelled'), ('cancelled', 'cancelled')))
    EXECUTE FUNCTION refuse();

-- Only what a statement made, and nobody has paid for yet.
CREATE FUNCTION an_order_is_cancelled_with_its_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM statement s WHERE s.id = NEW.statement_id AND s.state <> 'posted')
       OR EXISTS (SELECT FROM posted_payment p WHERE p.sales_order_id = NEW.id) THEN
        RAISE EXCEPTION 'sales_order: only orders of a statement that is not posted are cancelled'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER an_order_is_cancelled_with_its_statement BEFORE UPDATE ON sales_order FOR EACH ROW
    WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled')
    EXECUTE FUNCTION an_order_is_cancelled_with_its_statement();

CREATE FUNCTION settled_for_ever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.sales_order_id IS NOT NULL OR NEW.statement_id IS NOT NULL
       OR NOT EXISTS (SELECT FROM sales_order o
                       WHERE o.id = OLD.sales_order_id AND o.state = 'cancelled') THEN
        RAISE EXCEPTION 'retail_transaction: update refused' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER settled_for_ever ON retail_transaction;
CREATE TRIGGER settled_for_ever BEFORE UPDATE ON retail_transaction FOR EACH ROW
    WHEN (OLD.sales_order_id IS NOT NULL
          AND (OLD.sales_order_id, OLD.statement_id)
              IS DISTINCT FROM (NEW.sales_order_id, NEW.statement_id))
    EXECUTE FUNCTION settled_for_ever();

DROP TRIGGER a_posted_statement_is_frozen ON statement;
CREATE TRIGGER a_posted_statement_is_frozen BEFORE UPDATE OR DELETE ON statement FOR EACH ROW
    WHEN (OLD.state IN ('posted', 'cancelled')) EXECUTE FUNCTION refuse();

CREATE FUNCTION a_cancelled_statement_has_no_sales() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM retail_transaction t WHERE t.statement_id = NEW.id) THEN
        RAISE EXCEPTION 'statement: a cancelled one has no sales' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_cancelled_statement_has_no_sales BEFORE UPDATE ON statement FOR EACH ROW
    WHEN (NEW.state = 'cancelled') EXECUTE FUNCTION a_cancelled_statement_has_no_sales();

CREATE OR REPLACE FUNCTION modes_of_statements_do_not_mix() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM statement s
                WHERE s.channel_id = NEW.id AND s.state NOT IN ('posted', 'cancelled')) THEN
        RAISE EXCEPTION 'channel: a statement is open, post it before the mode changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    """Forward only: a downgrade would leave the rules without guard."""

    dependencies = [
        ("stores", "0046_search_text"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(FILL),
        migrations.RunSQL(BEFORE),
        migrations.AlterModelOptions(
            name="statement",
            options={
                "permissions": [
                    ("calc_statement", "Can calculate statements"),
                    ("post_statement", "Can post statements"),
                    ("cancel_statement", "Can cancel statements that are not posted"),
                ]
            },
        ),
        migrations.RemoveConstraint(
            model_name="salesorder",
            name="sales_order_state_is_known",
        ),
        migrations.RemoveConstraint(
            model_name="salesorder",
            name="an_invoice_belongs_to_an_invoiced_order",
        ),
        migrations.RemoveConstraint(
            model_name="statement",
            name="one_open_statement_per_day",
        ),
        migrations.RemoveConstraint(
            model_name="statement",
            name="statement_state_is_known",
        ),
        migrations.AlterField(
            model_name="salesorder",
            name="state",
            field=models.CharField(
                choices=[
                    ("open", "Open"),
                    ("on_hold", "On hold"),
                    ("invoiced", "Invoiced"),
                    ("cancelled", "Cancelled"),
                ],
                db_default="open",
                max_length=9,
            ),
        ),
        migrations.AlterField(
            model_name="statement",
            name="reason",
            field=models.CharField(
                blank=True, db_default="statement_not_calculated", max_length=40
            ),
        ),
        migrations.AlterField(
            model_name="statement",
            name="state",
            field=models.CharField(
                choices=[
                    ("started", "Started"),
                    ("marked", "Marked"),
                    ("calculated", "Calculated"),
                    ("checked", "Checked"),
                    ("aggregated", "Aggregated"),
                    ("orders_created", "Customer orders created"),
                    ("invoiced", "Invoiced"),
                    ("payments_posted", "Payments posted"),
                    ("posted", "Posted"),
                    ("cancelled", "Cancelled"),
                ],
                db_default="started",
                max_length=15,
            ),
        ),
        migrations.AlterField(
            model_name="statementevent",
            name="state",
            field=models.CharField(
                choices=[
                    ("started", "Started"),
                    ("marked", "Marked"),
                    ("calculated", "Calculated"),
                    ("checked", "Checked"),
                    ("aggregated", "Aggregated"),
                    ("orders_created", "Customer orders created"),
                    ("invoiced", "Invoiced"),
                    ("payments_posted", "Payments posted"),
                    ("posted", "Posted"),
                    ("cancelled", "Cancelled"),
                ],
                max_length=15,
            ),
        ),
        migrations.AddConstraint(
            model_name="asyncaddress",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="asyncaddress_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="asyncaffiliation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="asyncaffiliation_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="asyncattribute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="asyncattribute_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="asynccontact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="asynccontact_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="asynccustomer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "failed"), _negated=True),
                    models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                    _connector="OR",
                ),
                name="asynccustomer_failed_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="retailtransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("transaction_type", "customer_order"), _negated=True),
                    models.Q(("entry_status", "concluded"), _negated=True),
                    ("sales_order__isnull", False),
                    models.Q(
                        ("order_reason__isnull", False),
                        models.Q(("order_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="an_order_that_waits_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="salesorder",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "on_hold", "invoiced", "cancelled"])),
                name="sales_order_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="salesorder",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("invoice_number__isnull", True),
                    ("state__in", ["invoiced", "cancelled"]),
                    _connector="OR",
                ),
                name="an_invoice_belongs_to_an_invoiced_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ("posted", "cancelled")), _negated=True),
                fields=("channel", "business_date"),
                name="one_open_statement_per_day",
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "state__in",
                        [
                            "started",
                            "marked",
                            "calculated",
                            "checked",
                            "aggregated",
                            "orders_created",
                            "invoiced",
                            "payments_posted",
                            "posted",
                            "cancelled",
                        ],
                    )
                ),
                name="statement_state_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="statement",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state__in", ("posted", "cancelled")),
                    models.Q(("reason", ""), _negated=True),
                    _connector="OR",
                ),
                name="an_open_statement_says_why",
            ),
        ),
        migrations.RunSQL(AFTER),
    ]
