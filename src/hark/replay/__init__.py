"""What if: an event history run through the engine on a virtual clock, once per policy, to choose a cool-down by.

history = open_history(Path("events.csv"))
figures = await replay(dsn, history, parse_policies(["immediate", "cooldown=4m", "daily@08:00"]))
write_chart(Path("replay.html"), figures)
"""

from hark.replay.chart import write_chart
from hark.replay.columns import Columns
from hark.replay.figures import Figures, Spread
from hark.replay.history import History, PastEvent, open_history
from hark.replay.policy import EXAMPLES, Policy, parse_policies, parse_policy
from hark.replay.run import Progress, replay

__all__ = [
    "EXAMPLES",
    "Columns",
    "Figures",
    "History",
    "PastEvent",
    "Policy",
    "Progress",
    "Spread",
    "open_history",
    "parse_policies",
    "parse_policy",
    "replay",
    "write_chart",
]
