"""The journal's driver for SQLite: one durable file, or memory."""
