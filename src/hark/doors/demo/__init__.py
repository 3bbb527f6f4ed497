"""The demo: the whole pipeline on this machine, before your eyes; leaves the mails and nothing running.

campus.py    who they are and what they do all evening: made up, the same for the same seed
evening.py   the evening played through the real pipeline, on a virtual clock
summary.py   what came of it
show.py      how it looks while it runs and at the end
"""
