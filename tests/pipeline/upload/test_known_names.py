"""A company may take only the attributes and affiliations that it has defined.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `register` registers a
channel by its code.
"""

from uuid import UUID

from stores.models import (
    Affiliation,
    AttributeDefinition,
    ChannelDatabase,
    Company,
    CustomerAffiliation,
    CustomerAttribute,
    Quarantine,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.quarantine import release_rows
from tests.support.make import make_customer, make_event, only_case, run

STRICT = {"known_attributes_only": True, "known_affiliations_only": True}


def capture(database: ChannelDatabase, **columns: str) -> UUID:
    """A customer with an affiliation and an attribute; `columns` are those of both events."""
    guid = make_customer(database)
    make_event("affiliation", database, async_account=guid, affiliation="STAFF", **columns)
    make_event("attribute", database, async_account=guid, attribute="SIZE", value="M", **columns)
    return guid


def quarantined() -> set[tuple[str, str, str]]:
    """The open rows in quarantine: table, field and reason."""
    return set(Quarantine.objects.open().values_list("table", "field", "reason"))


def test_unknown_names_are_taken_unless_the_company_refuses_them(store):
    capture(store)

    run(JobCode.PIPELINE)

    assert quarantined() == set()
    assert CustomerAffiliation.objects.filter(affiliation="STAFF").exists()
    assert CustomerAttribute.objects.get().attribute == "SIZE"


def test_unknown_names_go_to_quarantine_if_the_company_refuses_them(store):
    Company.objects.update(**STRICT)
    capture(store)

    run(JobCode.PIPELINE)

    assert quarantined() == {
        ("async_affiliation", "affiliation", "affiliation_unknown"),
        ("async_attribute", "attribute", "attribute_unknown"),
    }


def test_known_names_are_taken_also_where_only_blanks_differ(store):
    company = store.channel.company
    Company.objects.update(**STRICT)
    Affiliation.objects.create(company=company, name="STAFF", is_hidden=True)
    AttributeDefinition.objects.create(company=company, name="SIZE")
    guid = make_customer(store)
    make_event("affiliation", store, async_account=guid, affiliation=" STAFF ")
    make_event("attribute", store, async_account=guid, attribute="SIZE\u00a0", value="M")

    run(JobCode.UPLOAD)

    assert quarantined() == set()


def test_an_unknown_name_can_be_removed(store):
    capture(store)
    run(JobCode.PIPELINE)
    Company.objects.update(**STRICT)

    make_event(
        "affiliation", store, account_number="005001", affiliation="STAFF", operation="deactivate"
    )
    run(JobCode.PIPELINE)

    assert quarantined() == set()
    assert not CustomerAffiliation.objects.get(affiliation="STAFF").is_active


def test_names_of_another_company_do_not_count(store, other_company):
    Company.objects.update(**STRICT)
    Affiliation.objects.create(company_id="EURT", name="STAFF")
    AttributeDefinition.objects.create(company_id="EURT", name="SIZE")
    capture(store)

    run(JobCode.UPLOAD)

    assert len(quarantined()) == 2


def test_a_row_can_be_released_once_its_name_is_defined(store):
    Company.objects.update(known_affiliations_only=True)
    capture(store)
    run(JobCode.PIPELINE)
    Affiliation.objects.create(company=store.channel.company, name="STAFF")

    release_rows([only_case()])
    run(JobCode.PIPELINE)

    assert quarantined() == set()
    assert CustomerAffiliation.objects.filter(affiliation="STAFF").exists()
