"""The history: every cycle, the operator's orders, and the notices to the operator."""
