"""A message: what Syncline says to people, stored as codes and parameters."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, Union

from django.utils.formats import number_format

from stores.messages.catalog import TEXTS
from stores.messages.labels import label

# A number is shown with its digits grouped, so the id of something is text. What a list holds is
# shown with commas between.
Parameter: TypeAlias = Union[str, int, "Message", Sequence[Union[str, "Message"]]]


class UnknownCode(ValueError):
    """The catalog has no text for the code of a new message."""


class Sentence(NamedTuple):
    """A code of the catalog and the parameters of its text, which never name a customer."""

    code: str
    parameters: Mapping[str, Parameter]

    def __str__(self) -> str:
        shown = {name: show(name, value) for name, value in self.parameters.items()}
        try:
            return str(TEXTS[self.code] % shown)
        except (KeyError, TypeError, ValueError):
            # Another release wrote it, or a translation is wrong: say what there is.
            return plain_words(self.code, shown)


class Message:
    """Sentences for people, or none: an empty message is false.

    `Message("worker_gone") + Message("more", count=2)` has two sentences.
    """

    __slots__ = ("sentences",)

    def __init__(self, code: str | None = None, /, **parameters: Parameter) -> None:
        if code is not None and code not in TEXTS:
            raise UnknownCode(code)
        self.sentences: tuple[Sentence, ...] = ()
        if code is not None:
            self.sentences = (Sentence(code, parameters),)

    @classmethod
    def from_data(cls, data: Sequence[Mapping[str, Any]]) -> "Message":
        """Read what `data` has returned, also if another release wrote it."""
        message = cls()
        message.sentences = tuple(
            Sentence(
                sentence["code"],
                {name: read_parameter(value) for name, value in sentence["params"].items()},
            )
            for sentence in data
        )
        return message

    @property
    def data(self) -> list[dict[str, Any]]:
        """The message as JSON stores it."""
        return [
            {
                "code": code,
                "params": {name: write_parameter(value) for name, value in parameters.items()},
            }
            for code, parameters in self.sentences
        ]

    @property
    def json(self) -> str:
        """The message as SQL takes it."""
        return json.dumps(self.data)

    def __str__(self) -> str:
        return " ".join(map(str, self.sentences))

    def __repr__(self) -> str:
        return f"<Message {self.json}>"

    def __bool__(self) -> bool:
        return bool(self.sentences)

    def __add__(self, other: "Message") -> "Message":
        both = Message()
        both.sentences = self.sentences + other.sentences
        return both

    def __eq__(self, other: object) -> bool:
        return self.data == other.data if isinstance(other, Message) else NotImplemented

    def __hash__(self) -> int:
        return hash(json.dumps(self.data, sort_keys=True))


EMPTY = Message()


def join(messages: Sequence[Message]) -> Message:
    """One message of several."""
    return sum(messages, EMPTY)


def because(reason: str | None, field: str = "") -> Message:
    """The message of a reason, about a column or the whole row; none without a reason."""
    data = [{"code": f"reason_{reason}", "params": {"field": field}}]
    return Message.from_data(data) if reason else EMPTY


def count_of(word: str, count: int) -> Message:
    """A count of a run, such as "1,200 staged"."""
    code = f"count_{word}"
    if code in TEXTS:
        return Message(code, count=count)
    return Message("count_of_others", count=count, word=word)


# ------------------------------------------------------------------------ parameters


class Number(int):
    """A number that a text shows with its digits grouped, and by which it chooses its plural."""

    def __str__(self) -> str:
        return number_format(int(self), force_grouping=True)


def show(name: str, value: Parameter) -> Any:
    """A parameter as a text shows it."""
    if name == "field":
        return label(str(value)) or "row"
    if isinstance(value, int):
        return Number(value)
    if isinstance(value, str | Message):
        return str(value)
    if isinstance(value, list | tuple):
        return ", ".join(str(show("", element)) for element in value)
    # Another release wrote it.
    return str(value)


def plain_words(code: str, shown: Mapping[str, Any]) -> str:
    """What can be said of a message without its text."""
    words = code.replace("_", " ").capitalize()
    facts = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in shown.items())
    return f"{words} ({facts})." if facts else f"{words}."


def write_parameter(value: Parameter) -> Any:
    if isinstance(value, Message):
        return value.data
    if isinstance(value, list | tuple):
        return [write_parameter(element) for element in value]
    return value


def read_parameter(value: Any) -> Any:
    """A parameter as it was given: a list of sentences is a message."""
    if not isinstance(value, list):
        return value
    if value and all(map(is_sentence, value)):
        return Message.from_data(value)
    return [read_parameter(element) for element in value]


def is_sentence(value: Any) -> bool:
    """Whether it has a code and parameters, as the column asks of each sentence of a message."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("code"), str)
        and isinstance(value.get("params"), dict)
    )
