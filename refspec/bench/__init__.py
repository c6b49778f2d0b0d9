"""`refspec bench`: what this machine makes of a model, and what speculation makes of this machine.

Measuring and showing are apart: `machine`, `passes`, `race` and `peers` run the clocks, `results` and `hindsight` compute
from what they saw, `table` and `plots` show it. Everything between them is a frozen dataclass, which is also the JSON.
"""
