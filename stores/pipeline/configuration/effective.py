"""The settings that channel databases should hold, as administrators have set them up.

Job 1070 sends what concerns one channel, job 1110 what is the same for all channels of a company.
Each key of a channel's table channel_setting is sent by one of the two; docs/channel-schema.md says
what its value means to a till.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from stores.models import (
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    FeatureSet,
    FunctionalityProfile,
)
from stores.models.customer import AttributeDefinition
from stores.models.features import FEATURES, MANDATORY_FEATURES
from stores.models.job import JobCode
from stores.pipeline.events.kinds import EVENT_KINDS, INHERITED_COLUMNS
from stores.pipeline.events.rules import max_lengths

# What JSON can hold, by the keys of channel_setting.
Settings: TypeAlias = dict[str, Any]


def effective_settings(databases: Sequence[ChannelDatabase]) -> dict[int, dict[str, Settings]]:
    """Return the settings that each database should hold: its id -> job -> key -> value.

    The number of queries does not depend on how many databases there are.
    """
    channels = (
        Channel.objects.select_related("profile", "default_customer")
        .prefetch_related("default_customer__affiliations")
        .in_bulk({database.channel_id for database in databases})
    )
    companies = Company.objects.prefetch_related(
        "attribute_definitions", "affiliations", "customer_groups"
    ).in_bulk({channel.company_id for channel in channels.values()})
    groups = ChannelDatabaseGroup.objects.in_bulk({database.group_id for database in databases})
    features = {features.company_id: features for features in FeatureSet.objects.all()}
    usual = features.get(None, FeatureSet())
    of_company = {
        code: global_settings(company, features.get(code, usual))
        for code, company in companies.items()
    }
    effective = {}
    for database in databases:
        channel = channels[database.channel_id]
        effective[database.pk] = {
            JobCode.CHANNEL_CONFIGURATION.value: channel_settings(
                channel, companies[channel.company_id], groups[database.group_id]
            ),
            JobCode.GLOBAL_CONFIGURATION.value: of_company[channel.company_id],
        }
    return effective


def channel_settings(channel: Channel, company: Company, group: ChannelDatabaseGroup) -> Settings:
    """Return what job 1070 sends."""
    profile = channel.profile or FunctionalityProfile()
    return {
        "profile": {
            "code": profile.code or None,
            "create_customer_async": profile.create_customer_async,
            "customer_order_mode": profile.customer_order_mode,
        },
        "default_customer": inherited_values(channel, company),
        "affiliations": [
            {"name": affiliation.name, "description": affiliation.description}
            for affiliation in company.affiliations.all()
            if not affiliation.is_hidden
        ],
        "filter_shared_customer_data": group.filter_shared_customer_data,
    }


def inherited_values(channel: Channel, company: Company) -> Settings:
    """Return what the new customers of a channel inherit if a till leaves it out."""
    template = channel.default_customer
    if template is None:
        return {"account_number": None, "country": channel.country or None}
    inherited = {column: getattr(template, column) or None for column in INHERITED_COLUMNS}
    dimensions = {group.code: group.financial_dimensions for group in company.customer_groups.all()}
    affiliations = [row.affiliation for row in template.affiliations.all() if row.is_active]
    return {
        "account_number": template.account_number,
        **inherited,
        "receipt_preference": template.receipt_preference,
        "financial_dimensions": dimensions.get(template.customer_group or "") or None,
        "affiliations": sorted(affiliations),
        "country": channel.country or None,
    }


def global_settings(company: Company, features: FeatureSet) -> Settings:
    """Return what job 1110 sends."""
    mandatory = dict.fromkeys(MANDATORY_FEATURES, True)
    return {
        "features": mandatory | {name: getattr(features, name) for name in FEATURES},
        "attributes": [
            attribute_values(definition) for definition in company.attribute_definitions.all()
        ],
        "parameters": {
            "known_attributes_only": company.known_attributes_only,
            "known_affiliations_only": company.known_affiliations_only,
        },
        "max_lengths": {kind.event: max_lengths(kind) for kind in EVENT_KINDS},
    }


def attribute_values(definition: AttributeDefinition) -> Settings:
    return {
        "name": definition.name,
        "data_type": definition.data_type,
        "options": definition.options,
        "smallest": plain_number(definition.smallest),
        "largest": plain_number(definition.largest),
    }


def plain_number(value: Any) -> str | None:
    """Return an amount as a till reads it, without zeros at its end: JSON has no exact decimals."""
    return None if value is None else f"{value.normalize():f}"
