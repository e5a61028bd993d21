"""The documents that others send or read, typed: the payload, the two allocation files, the status file."""
