"""Capital Governor: how much of a fleet's capital each autonomous trading agent may use.

The flow, once per interval::

    dashboard -> fetch -> parse -> Inputs -> decide(inputs, state, rules) -> Decision -> gate
              -> journal commit -> converge two JSON files -> log

``core`` decides and is pure. ``contracts`` describes the documents that other programs send or read. Each module of
``adapters`` talks to one outside system. ``journal`` stores the history, ``wording`` has the texts, ``service`` is the
running governor, ``cli`` has the commands. ``.github/CONTRIBUTING.md`` lists all rooms and what may import what.
"""

__version__ = "0.3.0"
