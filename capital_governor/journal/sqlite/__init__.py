"""The durable journal: one SQLite file."""
