"""The fence: HQ writes to a channel only if it is the database that HQ left, and HQ alone writes.

A *visit* is one connection of HQ to a channel database. HQ and the channel both remember the token
of the latest visit that wrote: an epoch, which only grows, and a random nonce. Both are compared
when a visit begins. A database that was restored, copied or exchanged shows another token than HQ
expects, and so does one that a second HQ has visited, or that knows more than a restored HQ.

A visit that only reads writes nothing. Before its first write it takes the fence, in three steps:
HQ commits the token that it intends to leave, the channel replaces its token by that one, and HQ
confirms it. A visit may die between any two of them. From then on the channel refuses every write
that does not give the nonce. Source: reliability 3.7, ADR 0009.
"""
