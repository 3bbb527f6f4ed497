"""Stage 6 of 7: delivery. When, at most once, and how did it go? In: Message. Out: Prepared.

The state machine stands in `states`; `attempt` is the table of contents of what happens to a delivery that is due.
"""
