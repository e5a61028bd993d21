"""The running governor: the daemon, its cycle, and what goes on beside the cycles."""
