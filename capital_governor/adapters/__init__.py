"""Access to the outside: each module talks to one outside system."""
