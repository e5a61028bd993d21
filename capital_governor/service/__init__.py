"""The running governor: daemon, cycle, log, messages."""
