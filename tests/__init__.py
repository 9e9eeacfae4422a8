"""Tests. Their place follows that of the code; tests/proofs has those of the whole.

The name of a test says the rule. The marks `fault`, `finding`, `promise` and `scenario` say where a
test comes from, by an id; `manage.py test --markers` explains them. Select the tests of an id by
`manage.py test -m "finding(id='P3')"`.
"""
