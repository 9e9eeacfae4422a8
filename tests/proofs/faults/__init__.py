"""Faults of the list, injected for real: what was committed stays, and the ring goes on."""
