"""The one way into a channel: is this the database that HQ left, and does nobody else write it?

A channel and HQ both remember the latest visit, as an epoch that only grows and a random nonce. On
entry both are compared; a database that was set back, copied or exchanged shows another pair than
HQ expects, and so does one that a second HQ has visited, or that remembers more than a restored HQ.

A visit that only reads writes nothing. Before its first write it takes the fence, in three steps
that may die between any two: HQ commits the intention, the channel swaps the pair, HQ confirms.
From then on the channel refuses every write that does not name the nonce. Source: reliability 3.7,
ADR 0009.
"""
