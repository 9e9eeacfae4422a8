"""HQ's tables: one noun, one file."""

from stores.models.affiliation import Affiliation
from stores.models.balance import Arrival, Balance, DayBalance
from stores.models.case import Case
from stores.models.channel import Channel, ChannelDatabase, ChannelDatabaseGroup
from stores.models.company import Company, NumberSequence, PaymentRounding
from stores.models.conflict import EditConflict
from stores.models.customer import (
    AttributeDefinition,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    GuidMap,
)
from stores.models.customer_group import CustomerGroup
from stores.models.difference import Difference
from stores.models.distributed_settings import DistributedSettings
from stores.models.excluded_sale import ExcludedSale
from stores.models.failed_sale import FailedSale
from stores.models.features import FeatureSet
from stores.models.field_to_correct import FieldToCorrect
from stores.models.incident import Incident
from stores.models.number_journal import Headquarters, NumberJournal
from stores.models.open_event import OpenEvent, SettledEvent, UnfinishedEvent
from stores.models.order import SalesOrder
from stores.models.order_sequence import OrderSequence
from stores.models.package import (
    CustomerChange,
    CustomerDelivery,
    DownloadException,
    Package,
    PackageTable,
)
from stores.models.parameter import Parameter
from stores.models.posted_payment import PostedPayment
from stores.models.profile import FunctionalityProfile
from stores.models.promise import Promise
from stores.models.quarantine import Quarantine
from stores.models.rts import RtsAnswer, RtsToken
from stores.models.run import JobRun
from stores.models.schedule import Schedule
from stores.models.scheduler_job import ExcludedDatabase, SchedulerJob
from stores.models.session import DownloadRange, DownloadSession, UploadSession
from stores.models.staging import (
    AsyncAddress,
    AsyncAffiliation,
    AsyncAttribute,
    AsyncContact,
    AsyncCustomer,
    StagedAddress,
    StagedAffiliation,
    StagedAttribute,
    StagedContact,
    StagedCustomer,
)
from stores.models.statement import Statement
from stores.models.statement_parts import (
    StatementAggregate,
    StatementEvent,
    StatementTender,
    StatementTotal,
)
from stores.models.step import RunStep
from stores.models.transaction import (
    IncompleteDocument,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
    TransactionChange,
    TransactionError,
)
from stores.models.upload_batch import UploadBatch
