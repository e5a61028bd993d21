"""Capital Governor: how much of a fleet's capital each autonomous trading agent may use.

The flow, once per interval::

    dashboard -> fetch -> parse -> Inputs -> decide(inputs, state, rules) -> Decision -> gate
              -> journal commit -> converge two JSON files -> log

``core`` decides and is pure. ``contracts`` are the documents that others send or read, ``adapters`` hold one outside
system each, ``journal`` is what is remembered, ``wording`` says it in words. ``service`` is the running governor, and
``cli`` what an operator types. ``.github/CONTRIBUTING.md`` has all rooms and what may import what.
"""

__version__ = "0.1.0"
