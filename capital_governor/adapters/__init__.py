"""I/O at the edges: one outside system per module."""
