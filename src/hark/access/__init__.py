"""Who may come in by HTTP, and what they changed.

keys.py    keys: made, looked up, replaced, revoked; only their hashes are kept
audit.py   the log of every change, written in the transaction of the change itself
"""
