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

register.filter(ago)
register.filter(age)
register.filter(took)
register.inclusion_tag("balance/_part.html")(part)
register.filter(signed)
register.filter(rows_word)
register.filter(number)
register.filter(length_words)
register.filter(capped)
register.filter(control)
register.filter(step_word)
register.filter(event_word)
register.filter(event_icon)
register.filter(masked)
register.filter(because)
register.filter(amount)
register.filter(quantity)
register.filter(figure)
register.filter(order_look)
register.filter(reason_words)
register.filter(may_start)
register.filter(who_may_start)
register.simple_tag(takes_context=True)(next_step)
