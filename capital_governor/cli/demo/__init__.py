"""``neo_light_fix.sh demo``: the real governor, supervised, on a simulated fleet in a separate root."""
