"""What templates may call of web/format.py and web/states.py."""

from django import template

from stores.web.format import (
    age,
    ago,
    amount,
    because,
    capped,
    control,
    figure,
    length_words,
    masked,
    may_start,
    money,
    next_step,
    number,
    part,
    quantity,
    reason_words,
    rows_word,
    signed,
    took,
    who_may_start,
)
from stores.web.states import event_icon, event_word, order_look, step_word

register = template.Library()

for function in (
    age,
    ago,
    amount,
    because,
    capped,
    control,
    event_icon,
    event_word,
    figure,
    length_words,
    masked,
    may_start,
    money,
    number,
    order_look,
    quantity,
    reason_words,
    rows_word,
    signed,
    step_word,
    took,
    who_may_start,
):
    register.filter(function)
register.inclusion_tag("balance/_part.html")(part)
register.simple_tag(takes_context=True)(next_step)
