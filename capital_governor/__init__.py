"""Capital Governor: how much of a fleet's capital each autonomous trading agent may use.

The flow, once per interval::

    dashboard -> fetch -> parse -> Inputs -> decide(inputs, state, rules) -> Decision -> gate
              -> journal commit -> converge two JSON files -> log

``core`` decides and is pure; ``adapters`` hold one outside system each; ``cycle`` joins them into one tick;
``governor`` gives that its journal and its messages; ``daemon`` repeats the tick; ``cli`` is what an operator types.
"""

__version__ = "0.1.0"
