"""What templates may call of web/format.py and web/states.py."""

from django import template

from stores.web import format as formats
from stores.web.states import event_icon, event_word, order_look, step_word

register = template.Library()

for function in (
    formats.age,
    formats.ago,
    formats.amount,
    formats.because,
    formats.capped,
    formats.control,
    event_icon,
    event_word,
    formats.figure,
    formats.length_words,
    formats.masked,
    formats.may_start,
    formats.money,
    formats.number,
    order_look,
    formats.quantity,
    formats.reason_words,
    formats.rows_word,
    formats.signed,
    formats.size,
    step_word,
    formats.took,
    formats.who_may_start,
):
    register.filter(function)
register.inclusion_tag("balance/_part.html")(formats.part)
register.simple_tag(takes_context=True)(formats.next_step)
