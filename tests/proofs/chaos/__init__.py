"""Proof by trouble: what tills were promised must hold, whatever is killed, cut or emptied.

`python -m tests.proofs.chaos --seed 7 --seconds 60` lets tills write into four channels while
workers are killed, and then looks with eyes of its own. Nothing here that judges uses the product's
code: it reads the databases as a stranger with the addresses would.
"""
