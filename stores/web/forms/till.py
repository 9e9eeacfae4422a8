"""The forms of a till's page. The till checks what is entered, by the rules of its own database."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.forms.boundfield import BoundField

from stores.messages.labels import label
from stores.models import Channel
from stores.till.customers import LOYALTY_CARD, NewCustomer
from stores.till.look_up import LookAlike
from stores.till.sales import Basket, Line
from stores.till.saves import new_save_id
from stores.till.settings import TillSettings
from stores.values.patterns import WORDS

PERSON_COLUMNS = ("customer_type", "first_name", "middle_name", "last_name", "name")
MORE_COLUMNS = ("title", "receipt_email", "vat_number")
CUSTOMER_COLUMNS = (*PERSON_COLUMNS, "email", "phone", "birth_date", "language", *MORE_COLUMNS)
# Further contacts, by kind: the field of a new customer.
CONTACTS = {"email": "further_email", "phone": "further_phone"}
ADDRESS_COLUMNS = ("street", "street_number", "postal_code", "city", "state", "country")
LINES = (1, 2, 3)
HELP = {
    "name": "Of an organization. A person's is composed.",
    "birth_date": "Such as 1990-03-01.",
    "country": "Three letters, such as NLD.",
    "language": "Such as en-US.",
}


def text_field(column: str) -> forms.CharField:
    """A field of a column; the till checks it, so the form refuses nothing."""
    widget: forms.Widget = forms.TextInput({"dir": "auto", "autocomplete": "off"})
    if column in WORDS:
        words = [("", "Usual here"), *((word, word.capitalize()) for word in WORDS[column])]
        widget = forms.Select(choices=words)
    return forms.CharField(
        required=False, label=label(column), widget=widget, help_text=HELP.get(column, "")
    )


class PlaceForm(forms.Form):
    """Where the till stands, and what it can reach. It changes nothing at headquarters."""

    register = forms.ChoiceField(required=False)
    offline = forms.BooleanField(required=False, label="This register is offline")
    hq = forms.ChoiceField(
        required=False,
        label="Headquarters can be reached",
        choices=[("", "Yes"), ("no", "No")],
    )

    def __init__(self, channel: Channel, data: Any) -> None:
        super().__init__(data)
        names = channel.databases.exclude(name="").order_by("name").values_list("name", flat=True)
        self.fields["register"].choices = [  # type: ignore[attr-defined]
            ("", "None: the channel itself"),
            *((name, name) for name in names),
        ]

    @property
    def is_elsewhere(self) -> bool:
        """Whether the till is not at the channel itself, online, with headquarters in reach."""
        return any(self.cleaned_data.values())


class TillForm(forms.Form):
    """A form whose columns the till checks. However often it is sent, it saves once."""

    columns: Sequence[str] = ()
    # The class of each row of fields.
    row_class = "fields"
    save_id = forms.UUIDField(widget=forms.HiddenInput, initial=new_save_id)

    def __init__(self, settings: TillSettings, data: Any = None, **options: Any) -> None:
        self.settings = settings
        super().__init__(data, use_required_attribute=False, **options)
        for column in self.columns:
            self.fields[column] = text_field(column)

    @property
    def rows(self) -> list[list[BoundField]]:
        """The visible fields, in rows, without those that are folded."""
        return [[field for field in self.visible_fields() if field.name not in MORE_COLUMNS]]

    @property
    def more(self) -> list[BoundField]:
        """The fields that are folded under More."""
        return [self[name] for name in MORE_COLUMNS if name in self.fields]

    @property
    def is_more_open(self) -> bool:
        return any(field.errors or field.value() for field in self.more)

    @property
    def save(self) -> UUID:
        """The id of the save that the form is."""
        save_id: UUID = self.cleaned_data["save_id"]
        return save_id

    @property
    def values(self) -> dict[str, Any]:
        return {column: self.cleaned_data[column] for column in self.columns}

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Say at each field what the till finds wrong with it."""
        for column, text in problems.items():
            self.add_error(column if column in self.fields else None, text)


class EditForm(TillForm):
    columns = CUSTOMER_COLUMNS
    # The version that the page has shown.
    based_on = forms.IntegerField(
        required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput
    )


class AddressForm(TillForm):
    columns = ("purpose", *ADDRESS_COLUMNS)


class CardForm(TillForm):
    """A loyalty card; without a number, the till makes one."""

    card = forms.CharField(
        required=False, label="Card number", help_text="Empty: the till makes one."
    )


class CustomerForm(TillForm):
    """A new customer, with an address, affiliations and attributes."""

    columns = (*CUSTOMER_COLUMNS, *ADDRESS_COLUMNS)
    confirmed = forms.BooleanField(required=False, label="It is somebody else: save it")

    def __init__(self, settings: TillSettings, data: Any = None, **options: Any) -> None:
        super().__init__(settings, data, **options)
        if settings.affiliations and settings.has("enhanced_creation"):
            self.fields["affiliations"] = forms.MultipleChoiceField(
                required=False,
                choices=[(name, text or name) for name, text in settings.affiliations.items()],
                widget=forms.CheckboxSelectMultiple,
            )
        if not settings.has("enhanced_creation"):
            del self.fields["title"]
        elif settings.has("multiple_contacts"):
            for kind, name in CONTACTS.items():
                self.fields[name] = text_field(kind)
                self.fields[name].label = f"Further {label(kind).lower()}"
            self.fields["has_consent"] = forms.BooleanField(
                required=False, label="Agrees to marketing on these"
            )
        # Who looks like the customer, as the page has found out.
        self.alike: list[LookAlike] = []
        self.attributes: dict[str, str] = {}
        for number, (name, definition) in enumerate(settings.attributes.items()):
            if name != LOYALTY_CARD:
                self.attributes[name] = f"attribute_{number}"
                self.fields[f"attribute_{number}"] = attribute_field(name, definition)

    @property
    def person(self) -> list[BoundField]:
        return [self[column] for column in CUSTOMER_COLUMNS if column not in MORE_COLUMNS]

    @property
    def more(self) -> list[BoundField]:
        names = (*CONTACTS.values(), "has_consent")
        return [*super().more, *(self[name] for name in names if name in self.fields)]

    @property
    def address(self) -> list[BoundField]:
        """The fields of the address, if the till may save one."""
        if not self.settings.has("async_addresses"):
            return []
        return [self[column] for column in ADDRESS_COLUMNS]

    @property
    def address_off(self) -> str:
        """Why the form has no address; empty if it has one."""
        return "" if self.address else self.settings.why_off("async_addresses")

    @property
    def more_off(self) -> list[str]:
        """Why the form has no title or no further contacts."""
        features = ("enhanced_creation", "multiple_contacts")
        return [self.settings.why_off(one) for one in features if not self.settings.has(one)]

    @property
    def attribute_fields(self) -> Iterator[BoundField]:
        return (self[name] for name in self.attributes.values())

    @property
    def new(self) -> NewCustomer:
        values = self.cleaned_data
        return NewCustomer(
            values={column: values.get(column) for column in CUSTOMER_COLUMNS},
            contacts=[(kind, values[n]) for kind, n in CONTACTS.items() if values.get(n)],
            has_consent=values.get("has_consent", False),
            address={column: values[column] for column in ADDRESS_COLUMNS},
            affiliations=values.get("affiliations", []),
            attributes={
                name: values[field] for name, field in self.attributes.items() if values[field]
            },
            save_id=self.save,
        )


def attribute_field(name: str, definition: Mapping[str, Any]) -> forms.CharField:
    widget: forms.Widget = forms.TextInput({"autocomplete": "off"})
    options = definition["options"]
    if options or definition["data_type"] == "boolean":
        choices = options or ["true", "false"]
        widget = forms.Select(
            choices=[("", "Not specified"), *((choice, choice) for choice in choices)]
        )
    return forms.CharField(required=False, label=name, widget=widget)


class BasketForm(TillForm):
    """A sale or a return: up to three items, and how they are paid."""

    row_class = "fields fields-tight"
    kind = forms.ChoiceField(choices=[("sale", "Sale"), ("return", "Return")])

    def __init__(self, settings: TillSettings, data: Any = None, **options: Any) -> None:
        super().__init__(settings, data, **options)
        for number in LINES:
            self.fields[f"item_{number}"] = forms.CharField(required=False, label="Item")
            self.fields[f"quantity_{number}"] = number_field("Quantity", initial=Decimal(1))
            self.fields[f"price_{number}"] = number_field("Price before tax")
        self.fields["currency"] = forms.CharField(required=False, help_text="Such as EUR.")
        self.fields["tax_percent"] = number_field("Tax in percent", initial=Decimal(0))

    @property
    def rows(self) -> list[list[BoundField]]:
        """An item in each row, and the other fields in the last."""
        items = [[f"item_{number}", f"quantity_{number}", f"price_{number}"] for number in LINES]
        names = ("kind", "currency", "tax_percent", "prepaid", "delivers")
        rows = [*items, [name for name in names if name in self.fields]]
        return [[self[name] for name in row] for row in rows]

    @property
    def basket(self) -> Basket:
        values = self.cleaned_data
        lines = [
            Line(
                values[f"item_{number}"],
                values[f"quantity_{number}"] or Decimal(0),
                values[f"price_{number}"] or Decimal(0),
            )
            for number in LINES
            if values[f"item_{number}"]
        ]
        return Basket(lines, values["currency"], values["tax_percent"] or Decimal(0))

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Say what the till finds wrong: of items, it does not say which."""
        for column, text in problems.items():
            self.add_error(column if column in ("currency", "tax_percent") else None, text)


class OrderForm(BasketForm):
    """A customer order, with what is paid in advance."""

    def __init__(self, settings: TillSettings, data: Any = None, **options: Any) -> None:
        super().__init__(settings, data, **options)
        del self.fields["kind"]
        self.fields["prepaid"] = number_field("Paid in advance", initial=Decimal(0))
        self.fields["delivers"] = forms.BooleanField(
            required=False, label="Deliver to the newest address"
        )


def number_field(name: str, initial: Decimal | None = None) -> forms.DecimalField:
    widget = forms.TextInput({"inputmode": "decimal", "autocomplete": "off"})
    return forms.DecimalField(required=False, label=name, initial=initial, widget=widget)
