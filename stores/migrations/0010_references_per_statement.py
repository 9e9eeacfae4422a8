"""References to customers checked once per statement, as those of deliveries are (ADR 0007)."""

import django.db.models.deletion
from django.db import migrations, models

# Each look-up is a subquery of its own and so goes by index, whatever the statistics say and
# however small the table was when a session first met it.
TRIGGERS = """
ALTER TABLE guid_map
    DROP CONSTRAINT guid_and_customer_share_the_company,
    DROP CONSTRAINT guid_and_channel_share_the_company;

CREATE FUNCTION its_company_exists() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT company_id FROM fresh) c
         WHERE NOT EXISTS (SELECT FROM company o WHERE o.code = c.company_id))
    THEN
        RAISE EXCEPTION '%: its company does not exist', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER its_company_exists AFTER INSERT ON customer REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_company_exists();

CREATE FUNCTION a_company_with_customers_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM customer c WHERE c.company_id = OLD.code) THEN
        RAISE EXCEPTION 'company: it has customers'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER a_company_with_customers_stays BEFORE DELETE ON company
    FOR EACH ROW EXECUTE FUNCTION a_company_with_customers_stays();
CREATE TRIGGER a_company_with_customers_keeps_its_code BEFORE UPDATE OF code ON company
    FOR EACH ROW EXECUTE FUNCTION a_company_with_customers_stays();
CREATE TRIGGER companies_are_never_truncated BEFORE TRUNCATE ON company
    FOR EACH STATEMENT EXECUTE FUNCTION refuse();

CREATE FUNCTION its_customer_exists() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh f WHERE (SELECT c.id FROM customer c WHERE c.id = f.customer_id) IS NULL)
    THEN
        RAISE EXCEPTION '%: its customer does not exist', TG_TABLE_NAME
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION guid_customer_and_channel_share_the_company() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM fresh m
         WHERE (SELECT c.company_id FROM customer c WHERE c.id = m.customer_id)
               IS DISTINCT FROM m.company_id)
    OR EXISTS (
        SELECT FROM (SELECT DISTINCT channel_id, company_id FROM fresh) m
         WHERE (SELECT h.company_id FROM channel h WHERE h.id = m.channel_id)
               IS DISTINCT FROM m.company_id)
    THEN
        RAISE EXCEPTION 'guid_map: customer and channel must exist in its company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER guid_customer_and_channel_share_the_company AFTER INSERT ON guid_map
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION guid_customer_and_channel_share_the_company();

-- A customer is owed to several databases: looked up once for all of them.
CREATE OR REPLACE FUNCTION deliveries_have_customer_and_database() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT d.customer_id, h.company_id FROM fresh d
                       LEFT JOIN channel_database b ON b.id = d.database_id
                       LEFT JOIN channel h ON h.id = b.channel_id) owed
         WHERE owed.company_id IS NULL
            OR (SELECT c.company_id FROM customer c WHERE c.id = owed.customer_id)
               IS DISTINCT FROM owed.company_id)
    THEN
        RAISE EXCEPTION 'delivery: customer and channel database must exist in one company'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
"""
# An update tells the new customer, if there is one, to the same function.
CHILD = """
CREATE TRIGGER its_customer_exists AFTER INSERT ON {table} REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
CREATE TRIGGER its_new_customer_exists AFTER UPDATE ON {table} REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION its_customer_exists();
"""
CHILDREN = ("address", "contact", "affiliation", "attribute")


def reference(to: str, name: str, *, indexed: bool) -> models.ForeignKey:
    """A foreign key that Django knows and PostgreSQL checks by trigger."""
    return models.ForeignKey(
        to=to,
        on_delete=django.db.models.deletion.PROTECT,
        db_constraint=False,
        db_index=indexed,
        related_name=name,
    )


class Migration(migrations.Migration):
    """Forward only: a downgrade would leave the rules without guard."""

    dependencies = [("stores", "0009_cheaper_texts")]
    operations = [
        migrations.AlterField(
            "customer", "company", reference("stores.company", "customers", indexed=False)
        ),
        migrations.AlterField(
            "customeraddress", "customer", reference("stores.customer", "addresses", indexed=True)
        ),
        migrations.AlterField(
            "customercontact", "customer", reference("stores.customer", "contacts", indexed=True)
        ),
        migrations.AlterField(
            "customeraffiliation",
            "customer",
            reference("stores.customer", "affiliations", indexed=False),
        ),
        migrations.AlterField(
            "customerattribute",
            "customer",
            reference("stores.customer", "attributes", indexed=False),
        ),
        migrations.RunSQL(TRIGGERS),
        *(migrations.RunSQL(CHILD.format(table=f"customer_{kind}")) for kind in CHILDREN),
        # They were the targets of the composite foreign keys.
        migrations.RemoveConstraint("customer", "customer_carries_its_company"),
        migrations.RemoveConstraint("channel", "channel_carries_its_company"),
    ]
