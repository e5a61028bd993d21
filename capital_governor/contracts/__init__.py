"""The documents that other programs send or read: payload, allocation files, status file; and exit codes."""
