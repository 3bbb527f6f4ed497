"""Loading: all that the sources have of many users, in two steps a user, and the order in which that is right.

course.py    the order: let in, effective everywhere, load, the stream passed, projected, audited
steps.py     receipts and shop orders of a user: each a step with its own key, done once
queue.py     SQS, whose messages are hints at steps; driven.py: a batch whose steps are driven through it
loader.py    asks for many steps at once, and records what comes as it comes
seams.py     what a load asks of the live stream and of the audit; wired.py: who answers
"""
