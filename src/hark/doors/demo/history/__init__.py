"""The demo of purchases: loaded beside a live stream, audited, healed, taken back; leaves nothing behind.

till.py      what people buy meanwhile: the sources have it first, then a line of a file says so
stream.py    that file, ingested as it grows
ledger.py    what should be held in the end: a fold of its own, which knows nothing of facts
loads.py     loads and undos, from what is asked for to their end
summary.py   what came of it, in figures
acts.py      what happens, one thing after the other, all by what the verbs use
show.py      how it looks while it runs and at the end
"""
