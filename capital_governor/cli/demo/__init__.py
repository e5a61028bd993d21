"""``neo_light_fix.sh demo``: the real governor, supervised, on a simulated fleet and a root of its own."""
