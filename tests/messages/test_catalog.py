"""The catalog has the text of each code that Syncline uses, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stores
from stores.channeldb.connect.connection import ERRORS_BY_CODE
from stores.messages import catalog
from stores.messages.catalog import TEXTS
from stores.messages.message import Message
from stores.messages.reasons import REASONS
from stores.models.difference import DifferenceKind
from stores.pipeline.fence.decision import NUMBERS_SEEN, number_seen
from stores.pipeline.integrity.recover import NUMBERS_ISSUED
from stores.pipeline.number_journal import NUMBERS_UP_TO, number_up_to
from stores.pipeline.sales.statement_states import STATE_ACTIONS

PRODUCT = Path(stores.__file__).parent
# The rest of these codes is in the data, as the word of a count or the code of a reason.
COMPOSED = ("count_", "difference_", "reason_", "state_")
CHANNEL_ERRORS = sorted({code for _, code in ERRORS_BY_CODE.values()})


def texts_in_source() -> dict[str, list[str]]:
    """The text of each code as it is typed, or the singular, the plural and what decides."""
    tree = ast.parse(Path(catalog.__file__).read_text())
    [texts] = [node.value for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert isinstance(texts, ast.Dict)
    # By other names `makemessages` would not find them.
    assert {value.func.id for value in texts.values} == {"_", "ngettext_lazy"}
    return {
        key.value: [argument.value for argument in value.args]
        for key, value in zip(texts.keys, texts.values, strict=True)
    }


TYPED = texts_in_source()
ALL_TEXTS = TYPED | {f"reason_{code}": [reason.text] for code, reason in REASONS.items()}


def parameters_of(code: str) -> set[str]:
    *texts, last = ALL_TEXTS[code]
    # The third argument of a plural is the name of a parameter.
    named = {last} if len(texts) == 2 else set(re.findall(r"%\((\w+)\)s", last))
    return named.union(*(re.findall(r"%\((\w+)\)s", text) for text in texts))


def nodes_of_the_product() -> Iterator[ast.AST]:
    for path in PRODUCT.rglob("*.py"):
        if path != Path(catalog.__file__):
            yield from ast.walk(ast.parse(path.read_text()))


def test_the_catalog_has_the_texts_that_are_typed():
    assert set(TEXTS) == set(ALL_TEXTS)


@pytest.mark.parametrize("code", sorted(ALL_TEXTS))
def test_each_code_can_be_shown_in_singular_and_plural(code):
    texts = ALL_TEXTS[code]
    deciding = texts[2] if len(texts) == 3 else None
    shown = {name: f"<{name}>" for name in parameters_of(code)}

    for number, text in zip((1, 2), (texts[0], texts[min(1, len(texts) - 1)]), strict=True):
        given = shown | ({deciding: number} if deciding else {})
        expected = shown | ({deciding: str(number)} if deciding else {})
        # A column is shown by its label.
        expected |= {"field": "<field>"} if "field" in shown else {}

        assert str(Message(code, **given)) == text % expected


def test_each_message_is_given_the_parameters_of_its_text():
    wrong = []
    for node in nodes_of_the_product():
        if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Message"):
            continue
        codes = [code for argument in node.args for code in codes_in(argument)]
        given = {keyword.arg for keyword in node.keywords}
        wrong += [
            (code, given ^ parameters_of(code))
            for code in codes
            if code in ALL_TEXTS and None not in given and given != parameters_of(code)
        ]
        wrong += [(code, "is not in the catalog") for code in codes if code not in ALL_TEXTS]

    assert wrong == []


@pytest.mark.parametrize(
    "message",
    [
        *(number_seen(series, 7, "USRT", 5) for series in (*NUMBERS_SEEN, "credit note")),
        *(number_up_to(series, "SO-7", "USRT") for series in (*NUMBERS_UP_TO, "credit note")),
        *(Message(code, first="1", last="2", company="USRT") for code in NUMBERS_ISSUED.values()),
        *(Message(code, channel="houston") for code in CHANNEL_ERRORS),
    ],
    ids=str,
)
def test_a_message_whose_code_is_looked_up_is_given_the_parameters_of_its_text(message):
    [sentence] = message.sentences

    assert set(sentence.parameters) == parameters_of(sentence.code)


def codes_in(argument: ast.expr) -> list[str]:
    """The code that is typed as the argument of a message, or two if a condition decides."""
    if isinstance(argument, ast.IfExp):
        return codes_in(argument.body) + codes_in(argument.orelse)
    return [argument.value] if is_text(argument) else []


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_each_text_is_used():
    used = {node.value for node in nodes_of_the_product() if is_text(node)}

    unused = {code for code in TYPED if code not in used and not code.startswith(COMPOSED)}

    assert unused == set()


def test_each_state_of_a_statement_that_a_run_reaches_has_its_name():
    for state in STATE_ACTIONS:
        assert str(Message(f"state_{state.value}")) == state.label


def test_each_kind_of_difference_has_a_text_that_says_the_same_as_its_label():
    for kind in DifferenceKind:
        message = Message(f"difference_{kind.value}", count=1200)
        assert str(message) == f"1,200 {kind.label}"

    codes = {f"difference_{kind.value}" for kind in DifferenceKind}
    assert {code for code in TYPED if code.startswith("difference_")} == codes
