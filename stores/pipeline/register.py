"""Register a channel: its company and settings in HQ, and its own database, without customers.

Pages and commands add channels by the same functions. A connection can be tested before: that makes
and changes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from stores.channeldb import provision
from stores.channeldb.check import ConnectionTest, check_database
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.secrets import (
    ENCRYPTED,
    SecretRefused,
    encrypt,
    encrypt_again,
    read_secret,
)
from stores.channeldb.connect.secrets import can_encrypt as can_encrypt
from stores.channeldb.connect.secrets import references_work as references_work
from stores.channeldb.models import ExchangeState
from stores.channeldb.provision import embedded_server_runs as embedded_server_runs
from stores.hqdb.sql import fetch_value
from stores.messages.message import Message
from stores.models import (
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    FunctionalityProfile,
    Incident,
    NumberSequence,
)
from stores.models.channel import split_password
from stores.models.customer import Customer
from stores.models.incident import IncidentKind
from stores.pipeline.convert.accounts import import_account

DEFAULT_GROUP = "Default"
DEFAULT_FORMAT = "C-######"
EMBEDDED_URL = "embedded"


class RegistrationRefused(Exception):
    """The channel cannot be registered like this. `option` is what is wrong, if it is one value."""

    def __init__(self, sentence: str, option: str = "") -> None:
        super().__init__(f"{option}: {sentence}" if option else sentence)
        self.sentence = sentence
        self.option = option


class RegisteredOtherwise(RegistrationRefused):
    """The channel or its company is registered with another value."""

    def __init__(self, subject: str, present: object) -> None:
        super().__init__(f"{subject} is registered with {present}; change it in the settings.")


class IsACopy(RegistrationRefused):
    """The database is another channel's, another headquarters', or a copy of such a one."""

    def __init__(self, message: Message) -> None:
        super().__init__(str(message + Message("renew_identity")))
        self.message = message


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
    time_zone: str | None = None,
    till_role: str | None = None,
    renew_identity: bool = False,
    secret: str = "",
) -> ChannelDatabase:
    """Register a channel and its company, and create and migrate its database.

    `secret` is where the password of the database is, in one of the forms of secrets.py; a password
    in the address itself is stored encrypted, if there is a key.

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
            time_zone=time_zone,
        )
        ensure_default_customer(channel, default_customer)
        registered = ensure_database(channel, "", database, group, secret)
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
    secret: str = "",
) -> ChannelDatabase:
    """Add the database of an offline register to a channel."""
    channel = Channel.objects.filter(code=code).first()
    if channel is None:
        raise RegistrationRefused(f"There is no channel {code!r}.")
    with transaction.atomic():
        registered = ensure_database(channel, register, database, group, secret)
        prepare_database(registered, till_role, is_copy=renew_identity)
        return registered


def change_address(database: ChannelDatabase, url: str, secret: str = "") -> None:
    """Let HQ find a channel database at another address, from its next visit on.

    Raise RegistrationRefused if it belongs to another channel, ChannelError if it is not there or
    cannot be used. If it is another database than the registered one, the next visit opens an
    incident; if it is the registered one, such an incident is closed.
    """
    with transaction.atomic():
        database.url, database.secret = stored_address(database.channel, database.name, url, secret)
        require_free_address(database)
        require_valid(database, url="--database")
        database.save(update_fields=["url", "secret"])
        try:
            prepare_database(database, None, is_copy=False)
        except IsACopy as error:
            # A registered database has an identity already.
            raise RegistrationRefused(str(error.message)) from None


def encrypt_passwords() -> int:
    """Encrypt all stored passwords with the first key, also those within addresses.

    Returns their number. Errors: RegistrationRefused without a key, or if one does not decrypt.
    """
    if not can_encrypt():
        raise RegistrationRefused("There is no key: set SYNCLINE_SECRETS_KEY.")
    encrypted = 0
    with transaction.atomic():
        for database in ChannelDatabase.objects.select_for_update(of=("self",)).with_channel():
            address, password = split_password(database.url)
            if not password and not database.secret.startswith(ENCRYPTED):
                continue
            try:
                secret = encrypt(password) if password else encrypt_again(database.secret)
            except SecretRefused as error:
                raise RegistrationRefused(f"Channel {database.label}: {error.message}.") from None
            database.url, database.secret = address, secret
            database.save(update_fields=["url", "secret"])
            encrypted += 1
    return encrypted


# ------------------------------------------------------------------------ test of a connection


def new_database(code: str, register: str, url: str, secret: str = "") -> ChannelDatabase:
    """A channel database as it would be registered, which is not saved."""
    channel = Channel.objects.filter(code=code).first() or Channel(code=code)
    url, secret = stored_address(channel, register, url, secret)
    # A number that no database has, since a connection needs one.
    return ChannelDatabase(pk=0, channel=channel, name=register, url=url, secret=secret)


def check_connection(database: ChannelDatabase, *, renew_identity: bool = False) -> ConnectionTest:
    """Take the steps to a channel database, saved or not, up to the first that fails.

    A copy passes if it is to get an identity of its own.
    """
    registered = None if database.pk == 0 else database.database_id
    test = check_database(database, is_new=registered is None)
    if not test.is_passed:
        return test
    try:
        require_free_address(database)
        if test.identity:
            require_own(database, *test.identity)
    except IsACopy as error:
        if renew_identity and registered is None:
            test.note("owner", "pending", Message("check_owner_renewed"))
        else:
            test.note("owner", "failed", error.message)
            test.is_copy = registered is None
    except RegistrationRefused as error:
        test.note("owner", "failed", Message("quoted", text=error.sentence))
    else:
        if registered and not (test.identity and test.identity[0] == registered):
            test.note("owner", "pending", Message("check_owner_changed"))
        else:
            test.note_passed("owner")
    return test


@contextmanager
def one_test_at_a_time() -> Iterator[None]:
    """Let only one person at a time test or add a connection on a page.

    A page waits for what it opens here; a slow server must not keep all of the portal waiting.
    """
    if not fetch_value("SELECT pg_try_advisory_lock(hashtextextended('connection-test', 0))"):
        raise RegistrationRefused("Another connection is being tested. Try again in a moment.")
    try:
        yield
    finally:
        fetch_value("SELECT pg_advisory_unlock(hashtextextended('connection-test', 0))")


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
    """Return the channel, which is created, or must be as it is registered; None is any value."""
    known = Channel.objects.filter(code=values["code"]).first()
    if known is None:
        channel = Channel(**{name: value for name, value in values.items() if value is not None})
        require_valid(
            channel,
            code="CODE",
            name="--name",
            kind="--kind",
            country="--country",
            time_zone="--time-zone",
        )
        channel.save()
        return channel
    for field, value in values.items():
        present = getattr(known, field)
        is_stated = value is not None and (value or field not in ("profile", "country"))
        if is_stated and value != present:
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
            f"{account} looks like a number that {channel.company_id} gives to customers; take"
            f" another, such as DEFAULT-{channel.code}.",
            "--default-customer",
        ) from None


def ensure_database(
    channel: Channel, register: str, url: str, group: str | None, secret: str = ""
) -> ChannelDatabase:
    """Return the row of a database, which is created, or must be as it is registered."""
    url, secret = stored_address(channel, register, url, secret)
    known = ChannelDatabase.objects.filter(channel=channel, name=register).first()
    if known is not None:
        if known.url != url or not is_same_secret(known.secret, secret):
            raise RegisteredOtherwise(f"Channel {known.label}", "another database")
        if group is not None and known.group.name != group:
            raise RegisteredOtherwise(f"Channel {known.label}", f"group {known.group.name}")
        return known
    require_valid(ChannelDatabaseGroup(name=group or DEFAULT_GROUP), name="--group")
    place, _ = ChannelDatabaseGroup.objects.get_or_create(name=group or DEFAULT_GROUP)
    database = ChannelDatabase(channel=channel, name=register, url=url, secret=secret, group=place)
    require_free_address(database)
    require_valid(database, url="--database", name="--register")
    database.save()
    return database


def stored_address(channel: Channel, register: str, url: str, secret: str) -> tuple[str, str]:
    """The address and the secret of a database as they are stored.

    A password in the address is encrypted, if there is a key.
    """
    if url == EMBEDDED_URL:
        return embedded_url(channel, register), ""
    address, password = split_password(url)
    if password and secret:
        raise RegistrationRefused("The address has a password already.", "--secret")
    is_server = address.startswith("postgres")
    if password and is_server and can_encrypt():
        return address, encrypt(password)
    if secret and not is_server:
        raise RegistrationRefused("Only an address postgresql://… has a password.", "--secret")
    return url, secret


def is_same_secret(known: str, given: str) -> bool:
    """Whether two secrets are the same reference, or the same password."""
    if not (known and given):
        return known == given
    try:
        return known == given or read_secret(known) == read_secret(given)
    except SecretRefused:
        return False


def require_free_address(database: ChannelDatabase) -> None:
    """Raise RegistrationRefused if the address is that of another channel database."""
    others = ChannelDatabase.objects.exclude(pk=database.pk).select_related("channel")
    if other := others.filter(url=database.url).first():
        raise RegistrationRefused(f"It belongs to channel {other.label} already.", "--database")


def embedded_url(channel: Channel, register: str) -> str:
    """Return the URL of a database in the embedded server, named after the channel."""
    words = [channel.code, register] if register else [channel.code]
    return "embedded:ch_" + "_".join(words).replace("-", "_").lower()


def prepare_database(database: ChannelDatabase, till_role: str | None, *, is_copy: bool) -> None:
    """Create and migrate the channel's own database, and save its identity.

    One that is registered already has to be there: an empty one in its place would be another.
    Raise RegistrationRefused if it is a copy of another channel's database, unless `is_copy` is
    true, so that it gets a new identity.
    """
    is_new = database.confirmed_nonce is None
    if till_role:
        provision.require_till_role(database, till_role)
    if is_new:
        provision.create_database(database)
    else:
        provision.require_database(database)
    provision.migrate_database(database)
    if till_role:
        provision.grant_till_role(database, till_role)
    with connect(database) as alias:
        state = ExchangeState.objects.using(alias).get()
        if not (is_new and is_copy):
            require_own(database, state.pk, state.epoch)
        provision.write_company(alias, database.channel.company_id)
        if is_new and is_copy:
            provision.renew_identity(alias)
            state = ExchangeState.objects.using(alias).get()
    if is_new:
        ChannelDatabase.objects.filter(pk=database.pk).update(
            database_id=state.pk, confirmed_epoch=state.epoch, confirmed_nonce=state.nonce
        )
    elif state.pk == database.database_id:
        wrong = Incident.objects.filter(database=database, kind=IncidentKind.WRONG_DATABASE)
        wrong.close("The address leads to the registered database again.")


def require_own(database: ChannelDatabase, identity: UUID, epoch: int) -> None:
    """Raise IsACopy if a database is known as another channel's, or was visited by another HQ."""
    others = ChannelDatabase.objects.exclude(pk=database.pk).select_related("channel")
    if other := others.filter(database_id=identity).first():
        raise IsACopy(Message("channel_of_another", channel=database.label, other=other.label))
    # HQ knows every database that it has visited.
    if epoch and not ChannelDatabase.objects.filter(database_id=identity).exists():
        raise IsACopy(Message("channel_of_another_hq", channel=database.label))


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
        raise RegistrationRefused(messages[0], options.get(field, field)) from None
