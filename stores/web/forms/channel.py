"""The forms that add a channel or a database, or change the address of one."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from django import forms
from django.conf import settings
from django.forms.boundfield import BoundField
from django.utils.ipv6 import is_valid_ipv6_address

from stores.models import (
    Channel,
    ChannelDatabase,
    ChannelDatabaseGroup,
    Company,
    FunctionalityProfile,
)
from stores.models.channel import ChannelKind, time_zones
from stores.pipeline.register import (
    DEFAULT_GROUP,
    EMBEDDED_URL,
    RegistrationRefused,
    can_encrypt,
    embedded_server_runs,
    references_work,
)
from stores.web.forms.account import MAX_LENGTH, customer_with_account

SERVER, FILE, EMBEDDED, REFERENCE = "server", "file", "embedded", "reference"
FORM_CHOICES = {
    SERVER: "PostgreSQL server",
    FILE: "SQLite file",
    EMBEDDED: "Embedded server of headquarters",
    REFERENCE: "Address kept elsewhere",
}
# The fields of each form of address, in their order.
FORM_FIELDS = {
    SERVER: (
        *("host", "port", "database", "user", "tls", "authority"),
        *("password_in", "password", "password_reference"),
    ),
    FILE: ("file",),
    EMBEDDED: (),
    REFERENCE: ("reference",),
}
REQUIRED_FIELDS = {
    SERVER: ("host", "database", "user"),
    FILE: ("file",),
    EMBEDDED: (),
    REFERENCE: ("reference",),
}
REFERENCE_FORM = re.compile(r"file:[A-Za-z0-9._-]+|env:CHANNEL_DSN_[A-Z0-9_]+")
STORED, ELSEWHERE, NONE = "stored", "elsewhere", "none"
PASSWORD_CHOICES = {
    STORED: "Encrypted by headquarters",
    ELSEWHERE: "In a file or in the environment",
    NONE: "None",
}
TLS_CHOICES = {
    "": "Yes, certificate is checked",
    "require": "Yes, but not checked",
    "disable": "No",
}


class AddressForm(forms.Form):
    """Where a channel database is, in parts; a password is taken and never shown."""

    address_form = forms.ChoiceField(
        label="Where it is",
        initial=SERVER,
        widget=forms.RadioSelect({"class": "form-check-input"}),
    )
    host = forms.CharField(max_length=255, required=False, label="Server", help_text="Its name.")
    port = forms.IntegerField(min_value=1, max_value=65535, required=False, initial=5432)
    database = forms.CharField(max_length=63, required=False, label="Database")
    user = forms.CharField(max_length=63, required=False)
    tls = forms.ChoiceField(
        choices=list(TLS_CHOICES.items()), required=False, label="Encrypted connection"
    )
    authority = forms.CharField(
        max_length=200,
        required=False,
        label="Certificate authority",
        help_text="Its file on headquarters' computers, unless their PostgreSQL client knows it.",
    )
    password_in = forms.ChoiceField(label="Password", required=False)
    password = forms.CharField(
        max_length=200,
        required=False,
        strip=False,
        label="Password to store",
        # Never shown again, not even in the form that was sent.
        widget=forms.PasswordInput({"autocomplete": "new-password"}, render_value=False),
        help_text="It is encrypted and never shown again. Enter it anew if this page reloads.",
    )
    password_reference = forms.CharField(
        max_length=120, required=False, label="Where the password is"
    )
    till_role = forms.CharField(
        max_length=63,
        required=False,
        label="Role of the tills",
        help_text="An existing role of a PostgreSQL server. It is granted what a till needs.",
    )
    file = forms.CharField(
        max_length=400,
        required=False,
        label="File",
        help_text="Below the data folder, for example channels/austin.sqlite3.",
    )
    reference = forms.CharField(
        max_length=120,
        required=False,
        label="Where the address is",
        help_text="file:NAME, or env:CHANNEL_DSN_X.",
    )
    renew_identity = forms.BooleanField(
        required=False, label="It is a copy: give it an identity of its own"
    )

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial=initial)
        forms_offered = dict(FORM_CHOICES)
        if not embedded_server_runs():
            del forms_offered[EMBEDDED]
        self.fields["address_form"].choices = list(forms_offered.items())  # type: ignore[attr-defined]
        self.offer_passwords()
        if settings.PRODUCTION:
            del self.fields["tls"]
        folder = "a file of the secrets folder as file:NAME, or " if settings.SECRETS_DIR else ""
        self.fields["password_reference"].help_text = f"In {folder}env:CHANNEL_DSN_X."

    def offer_passwords(self) -> None:
        """Offer the places where a password can be, and select one that works."""
        offered, field = dict(PASSWORD_CHOICES), self.fields["password_in"]
        if not can_encrypt():
            del offered[STORED], self.fields["password"]
        field.choices = list(offered.items())  # type: ignore[attr-defined]
        field.help_text = what_passwords_need()
        if STORED in offered:
            field.initial = STORED
        else:
            field.initial = ELSEWHERE if references_work() else NONE
        if self.initial.get("password_in") not in offered:
            self.initial.pop("password_in", None)

    def clean_reference(self) -> str:
        return checked_reference(self.cleaned_data["reference"])

    def clean_password_reference(self) -> str:
        return checked_reference(self.cleaned_data["password_reference"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        form = values.get("address_form", "")
        for name in REQUIRED_FIELDS.get(form, ()):
            if name not in self.errors and not values[name]:
                self.add_error(name, "This field is required.")
        if form == SERVER:
            needed = {STORED: "password", ELSEWHERE: "password_reference"}
            name = needed.get(values.get("password_in", ""), "")
            if name and not values.get(name):
                self.add_error(name, "This field is required.")
        return values

    own_fields: tuple[str, ...] = ()

    @property
    def own(self) -> list[BoundField]:
        """The fields besides the address."""
        return [self[name] for name in self.own_fields]

    @property
    def parts(self) -> Iterator[tuple[str, list[BoundField]]]:
        """For each form of address that is offered, its fields."""
        for form, _ in self.fields["address_form"].choices:  # type: ignore[attr-defined]
            yield form, [self[name] for name in FORM_FIELDS[form] if name in self.fields]

    @property
    def address(self) -> dict[str, str]:
        """The address as the functions that register it take it: its URL, and the secret."""
        values = self.cleaned_data
        form = values["address_form"]
        if form == FILE:
            return {"url": f"sqlite:///{values['file']}", "secret": ""}
        if form == EMBEDDED:
            return {"url": EMBEDDED_URL, "secret": ""}
        if form == REFERENCE:
            return {"url": values["reference"], "secret": ""}
        secret = values["password_reference"] if values["password_in"] == ELSEWHERE else ""
        return {"url": self.server_url(), "secret": secret}

    def server_url(self) -> str:
        values = self.cleaned_data
        user = quote(values["user"], safe="")
        if values["password_in"] == STORED:
            user += f":{quote(values['password'], safe='')}"
        host, port = values["host"], values["port"] or 5432
        query = {"sslmode": values.get("tls", ""), "sslrootcert": values["authority"]}
        name = f"[{host}]" if is_valid_ipv6_address(host) else quote(host, safe="")
        place = f"{name}:{port}"
        if host.startswith("/"):
            place, query = "", query | {"host": host, "port": str(port)}
        parameters = urlencode({name: value for name, value in query.items() if value})
        database = quote(values["database"], safe="")
        return f"postgresql://{user}@{place}/{database}" + (f"?{parameters}" if parameters else "")

    def add_refusal(self, refusal: RegistrationRefused) -> None:
        """Say why the database cannot be registered, at the field if it is one of this form."""
        name = refusal.option.removeprefix("--").replace("-", "_").lower()
        field = {"database": None, "secret": "password_reference"}.get(name, name)
        if field in self.fields:
            self.add_error(field, refusal.sentence)
        else:
            self.add_error(None, refusal.sentence)


def what_passwords_need() -> str:
    """What an administrator must set for the places where no password can be yet."""
    if can_encrypt():
        if settings.SECRETS_DIR:
            return ""
        return "For a password in a file, an administrator must set SYNCLINE_SECRETS_DIR."
    sentence = "To enter a password here, an administrator must set SYNCLINE_SECRETS_KEY"
    return sentence + (
        "." if settings.SECRETS_DIR else ", and SYNCLINE_SECRETS_DIR for one in a file."
    )


def checked_reference(text: str) -> str:
    """Refuse what is not a reference, so that no password is stored as it is."""
    if text and not REFERENCE_FORM.fullmatch(text):
        raise forms.ValidationError("Enter file:NAME, or env:CHANNEL_DSN_X.")
    return text


def group_field() -> forms.CharField:
    return forms.CharField(
        max_length=60,
        initial=DEFAULT_GROUP,
        label="Channel database group",
        help_text="Schedules can be for a group. A new name makes a new one.",
        widget=forms.TextInput({"list": "groups"}),
    )


class ChannelForm(AddressForm):
    """A channel that is added, with the address of its database."""

    code = forms.CharField(
        max_length=12,
        validators=Channel._meta.get_field("code").validators,
        help_text="Short and for good, for example austin.",
    )
    name = forms.CharField(max_length=100)
    kind = forms.ChoiceField(choices=ChannelKind.choices)
    company = forms.ModelChoiceField(
        Company.objects.order_by("code"),
        empty_label=None,
        help_text="Others are added in the settings.",
    )
    profile = forms.ModelChoiceField(
        FunctionalityProfile.objects.order_by("code"),
        required=False,
        empty_label="None",
        label="Functionality profile",
        help_text="How tills create customers and orders. None: everything asynchronously.",
    )
    default_customer = forms.CharField(
        max_length=MAX_LENGTH,
        required=False,
        help_text="An account number from which new customers inherit. Empty: a new account.",
    )
    time_zone = forms.ChoiceField(initial="UTC", help_text="Of the store.")
    country = forms.CharField(
        max_length=3,
        required=False,
        help_text="Three letters (NLD), for addresses without a country.",
    )
    group = group_field()

    own_fields = (
        *("code", "name", "kind", "company", "profile", "default_customer"),
        *("time_zone", "country", "group"),
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["time_zone"].choices = [  # type: ignore[attr-defined]
            (name, name) for name in sorted(time_zones())
        ]

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if Channel.objects.filter(code=code).exists():
            raise forms.ValidationError("There is a channel with this code already.")
        return code

    def clean_default_customer(self) -> str:
        account: str = self.cleaned_data["default_customer"]
        # Without a company, that field has an error of its own.
        if account and (company := self.cleaned_data.get("company")):
            customer_with_account(account, company)
        return account


class RegisterForm(AddressForm):
    """The database of an offline register that is added to a channel."""

    register = forms.CharField(max_length=40, help_text="The name of the register.")
    group = group_field()

    own_fields = ("register", "group")

    def __init__(self, channel: Channel, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.channel = channel

    def clean_register(self) -> str:
        name: str = self.cleaned_data["register"]
        if self.channel.databases.filter(name=name).exists():
            raise forms.ValidationError("The channel has a register with this name already.")
        return name


class ChangeAddressForm(AddressForm):
    """Another address of a channel database."""

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        # What a registered database has already.
        del self.fields["till_role"], self.fields["renew_identity"]


def groups() -> list[str]:
    """The names of the groups, to choose from."""
    return list(ChannelDatabaseGroup.objects.order_by("name").values_list("name", flat=True))


def initial_address(database: ChannelDatabase) -> dict[str, Any]:
    """The parts of a database's present address, without its password."""
    url = database.address
    if url.startswith("sqlite:///"):
        return {"address_form": FILE, "file": url.removeprefix("sqlite:///")}
    if url.startswith("embedded:"):
        return {"address_form": EMBEDDED}
    if url.startswith(("env:", "file:")):
        return {"address_form": REFERENCE, "reference": url}
    return {"address_form": SERVER} | server_parts(url, database.secret)


def server_parts(url: str, secret: str) -> dict[str, Any]:
    """The parts of an address postgresql://…; its secret is named only if it is a reference."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return {}
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    is_reference = secret.startswith(("env:", "file:"))
    return {
        "host": parts.hostname or query.get("host", ""),
        "port": port or query.get("port", 5432),
        "database": unquote(parts.path.removeprefix("/")),
        "user": unquote(parts.username or ""),
        "tls": query.get("sslmode", ""),
        "authority": query.get("sslrootcert", ""),
        "password_in": ELSEWHERE if is_reference else STORED if secret else NONE,
        "password_reference": secret if is_reference else "",
    }
