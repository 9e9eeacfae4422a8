"""Register a channel: its company and settings in HQ, and its own database, without customers."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from stores.channeldb import provision
from stores.channeldb.connect.connection import connect
from stores.channeldb.models import ExchangeState
from stores.models import (
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    FunctionalityProfile,
    NumberSequence,
)
from stores.models.customer import Customer
from stores.pipeline.convert.accounts import import_account

DEFAULT_GROUP = "Default"
DEFAULT_FORMAT = "C-######"
EMBEDDED_URL = "embedded"


class RegistrationRefused(Exception):
    """The channel cannot be registered like this."""


class RegisteredOtherwise(RegistrationRefused):
    """The channel or its company is registered with another value."""

    def __init__(self, subject: str, present: object) -> None:
        super().__init__(f"{subject} is registered with {present}; change it in the settings.")


def register_channel(
    *,
    code: str,
    name: str,
    kind: str,
    company: str,
    database: str,
    group: str | None = None,
    profile: str | None = None,
    default_customer: str | None = None,
    account_format: str | None = None,
    first_number: int | None = None,
    last_number: int | None = None,
    country: str | None = None,
    till_role: str | None = None,
    renew_identity: bool = False,
) -> ChannelDatabase:
    """Register a channel and its company, and create and migrate its database.

    The same call again changes nothing. HQ's transaction commits once the database is ready. Raise
    RegistrationRefused if values are wrong or differ from those registered, ChannelError if the
    database cannot be created.
    """
    with transaction.atomic():
        owner = register_company(company, account_format, first_number, last_number)
        channel = ensure_channel(
            code=code,
            name=name,
            kind=kind,
            company=owner,
            profile=ensure_profile(profile) if profile else None,
            country=country or "",
        )
        ensure_default_customer(channel, default_customer)
        registered = ensure_database(channel, "", database, group)
        prepare_database(registered, till_role, is_copy=renew_identity)
        return registered


def add_register(
    *,
    code: str,
    register: str,
    database: str,
    group: str | None = None,
    till_role: str | None = None,
    renew_identity: bool = False,
) -> ChannelDatabase:
    """Add the database of an offline register to a channel."""
    channel = Channel.objects.filter(code=code).first()
    if channel is None:
        raise RegistrationRefused(f"There is no channel {code!r}.")
    with transaction.atomic():
        registered = ensure_database(channel, register, database, group)
        prepare_database(registered, till_role, is_copy=renew_identity)
        return registered


def register_company(
    code: str, account_format: str | None, first: int | None, last: int | None
) -> Company:
    company = Company.objects.filter(code=code).first()
    if company is None:
        company = Company(code=code, name=code)
        require_valid(company, code="--company")
        company.save(force_insert=True)
        account_format = account_format or DEFAULT_FORMAT
        first = 1 if first is None else first
        # As many as the format holds.
        last = 10 ** account_format.count("#") - 1 if last is None else last
        sequence = NumberSequence(
            company=company, format=account_format, start=first, next=first, largest=last
        )
        require_valid(
            sequence, format="--account-format", start="--first-number", largest="--last-number"
        )
        sequence.save(force_insert=True)
        return company
    known = NumberSequence.objects.filter(company=company).first()
    for option, value, present in (
        ("--account-format", account_format, known and known.format),
        ("--first-number", first, known and known.start),
        ("--last-number", last, known and known.largest),
    ):
        if value is not None and value != present:
            raise RegisteredOtherwise(f"{option}: company {code}", present)
    return company


def ensure_channel(**values: Any) -> Channel:
    known = Channel.objects.filter(code=values["code"]).first()
    if known is None:
        channel = Channel(**values)
        require_valid(channel, code="CODE", name="--name", kind="--kind", country="--country")
        channel.save()
        return channel
    for field, value in values.items():
        present = getattr(known, field)
        if value != present and (value or field not in ("profile", "country")):
            raise RegisteredOtherwise(
                f"Channel {known.code}",
                f"{field.replace('_', ' ')} {present} and is left unchanged",
            )
    return known


def ensure_profile(code: str) -> FunctionalityProfile:
    """Return a functionality profile; a new one has the defaults."""
    require_valid(FunctionalityProfile(code=code), code="--profile")
    profile, _ = FunctionalityProfile.objects.get_or_create(code=code)
    return profile


def ensure_default_customer(channel: Channel, account: str | None) -> None:
    """Set the channel's default customer: an existing account, or one outside the sequence."""
    present = channel.default_customer
    if present is not None:
        if account is not None and present.account_number != account:
            raise RegisteredOtherwise(
                f"Channel {channel.code}", f"default customer {present.account_number}"
            )
        return
    account = account or f"DEFAULT-{channel.code}"
    known = Customer.objects.filter(company=channel.company, account_number=account).first()
    channel.default_customer = known or make_default_customer(channel, account)
    channel.save(update_fields=["default_customer"])


def make_default_customer(channel: Channel, account: str) -> Customer:
    """Make a customer outside the number sequence, which is a template and stays at HQ."""
    name = f"Default customer of {channel.name}"
    require_valid(
        Customer(company=channel.company, account_number=account, name=name),
        account_number="--default-customer",
    )
    try:
        with transaction.atomic():
            return import_account(channel.company, account, name=name, deliver=False)
    except IntegrityError:
        raise RegistrationRefused(
            f"--default-customer: {account} looks like a number that {channel.company_id} gives to"
            f" customers; take another, such as DEFAULT-{channel.code}."
        ) from None


def ensure_database(
    channel: Channel, register: str, url: str, group: str | None
) -> ChannelDatabase:
    """Return the row of a database, which is created, or must be as it is registered."""
    url = embedded_url(channel, register) if url == EMBEDDED_URL else url
    known = ChannelDatabase.objects.filter(channel=channel, name=register).first()
    if known is not None:
        if known.url != url:
            raise RegisteredOtherwise(f"Channel {known.label}", "another database")
        if group is not None and known.group.name != group:
            raise RegisteredOtherwise(f"Channel {known.label}", f"group {known.group.name}")
        return known
    if other := ChannelDatabase.objects.filter(url=url).first():
        raise RegistrationRefused(f"--database: it belongs to channel {other.label} already.")
    require_valid(ChannelDatabaseGroup(name=group or DEFAULT_GROUP), name="--group")
    place, _ = ChannelDatabaseGroup.objects.get_or_create(name=group or DEFAULT_GROUP)
    database = ChannelDatabase(channel=channel, name=register, url=url, group=place)
    require_valid(database, url="--database", name="--register")
    database.save()
    return database


def embedded_url(channel: Channel, register: str) -> str:
    """Return the URL of a database in the embedded server, named after the channel."""
    words = [channel.code, register] if register else [channel.code]
    return "embedded:ch_" + "_".join(words).replace("-", "_").lower()


def prepare_database(database: ChannelDatabase, till_role: str | None, *, is_copy: bool) -> None:
    """Create and migrate the channel's own database, and save its identity.

    Raise RegistrationRefused if it is a copy of another channel's database, unless `is_copy` is
    true, so that it gets a new identity.
    """
    if till_role:
        provision.require_till_role(database, till_role)
    provision.create_database(database)
    provision.migrate_database(database)
    if till_role:
        provision.grant_till_role(database, till_role)
    is_new = database.confirmed_nonce is None
    with connect(database) as alias:
        provision.write_company(alias, database.channel.company_id)
        if is_new and is_copy:
            provision.renew_identity(alias)
        state = ExchangeState.objects.using(alias).get()
    if ChannelDatabase.objects.exclude(pk=database.pk).filter(database_id=state.pk).exists():
        raise RegistrationRefused(
            f"Channel {database.label}: its database is a copy of another channel's. "
            "--renew-identity gives it an identity of its own."
        )
    if is_new:
        ChannelDatabase.objects.filter(pk=database.pk).update(
            database_id=state.pk, confirmed_epoch=state.epoch, confirmed_nonce=state.nonce
        )


def require_valid(instance: Any, **options: str) -> None:
    """Raise RegistrationRefused, with the option of the field, if a value of the row is wrong."""
    unset = [
        field.name
        for field in instance._meta.fields
        if field.name not in options and getattr(instance, field.attname, None) in (None, "")
    ]
    try:
        instance.full_clean(exclude=unset, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise RegistrationRefused(f"{options.get(field, field)}: {messages[0]}") from None
