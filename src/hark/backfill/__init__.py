"""Changes to many users at once: planned, throttled, verified and undoable.

cohort/   where the users come from
"""
