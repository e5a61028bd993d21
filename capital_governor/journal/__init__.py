"""What is remembered: every cycle, the operator's orders, and the notices on their way to the operator."""
