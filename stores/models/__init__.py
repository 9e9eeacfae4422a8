"""HQ's tables: one noun, one file."""

from stores.models.channel import Channel, ChannelDatabase, ChannelDatabaseGroup
from stores.models.company import Company, NumberSequence
from stores.models.customer import (
    AttributeDefinition,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    GuidMap,
)
from stores.models.delivery import Delivery
from stores.models.exchange import DownloadSession, UploadSession
from stores.models.quarantine import Quarantine
from stores.models.run import JobRun, RunStep
from stores.models.staging import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    AsyncCustomer,
)

__all__ = [
    "AsyncAddress",
    "AsyncAffiliation",
    "AsyncAttribute",
    "AsyncContact",
    "AsyncCustomer",
    "AttributeDefinition",
    "Channel",
    "ChannelDatabase",
    "ChannelDatabaseGroup",
    "Company",
    "Customer",
    "CustomerAddress",
    "CustomerAffiliation",
    "CustomerAttribute",
    "CustomerContact",
    "Delivery",
    "DownloadSession",
    "GuidMap",
    "JobRun",
    "NumberSequence",
    "Quarantine",
    "RunStep",
    "UploadSession",
]
