"""The database of a channel: what tills and HQ may rely on in it, and how HQ reaches it.

A channel's database belongs to its tills. They add events with plain SQL, in any language, and
never change one; HQ reads what is not acknowledged, keeps it, and only then acknowledges it, row by
row. What HQ tells the channel (accounts, customers, settings) is in tables that HQ alone writes.

- `models` are the tables: their columns and keys. Bulk work uses raw cursors and COPY instead.
- `schema` makes SQL of them for PostgreSQL and SQLite, with the triggers that keep events as they
  were written. Names are the contract's, final.
- `migrations` apply it: `create_channel` and `migrate_channels` call `provision.migrate_database`.
- `connect.connection.connect(database)` opens a channel for one `with` block and this thread only;
  `connect.url` says which URLs it accepts.
- `router` makes a query without a chosen channel fail instead of reading HQ.

What does not belong here: any rule about customers, numbers or jobs. Past `connect` nobody meets
a driver's exception or its text, which may quote personal data.
"""
