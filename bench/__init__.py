"""Measures of speed and memory, run by hand: `python -m bench ring`. See docs/performance.md.

Each measure is one module with a function `measure`, and says what it measures. Figures of one run
may be compared with each other, never with those of another day or machine.
"""
