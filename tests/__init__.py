"""Tests. Their place follows that of the code; tests/proofs has those of the whole.

The name of a test says the rule. A code at its end, such as p10, is that of the finding, scenario
or invariant from which the test came; tests/proofs/faults/test_fault_list.py lists the faults.
"""
