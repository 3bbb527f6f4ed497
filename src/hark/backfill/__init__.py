"""Backfills: what an operator changes for many users, planned, applied, verified and taken back.

states.py    where a backfill and its batches are, and the arrows between
kind.py      what a kind must say: how one batch of users is planned, applied, verified, undone
kinds/       preferences.py; a kind is one file
cohort/      where the users come from
request.py   what an operator asks for: a kind's request, a pace, a window
plan.py      look at the cohort, batch by batch, and write down what would become of whom
rehearse.py  what it will cost: one batch applied for real and rolled back
run.py       what is under way, in turn: a chunk of a plan, a batch, an end
batches.py   one batch: claimed, applied in one transaction with its journal, settled; or put back
bisect.py    halves a batch that fails, to find whose fault it is
throttle.py  how fast: pure; probes.py reads what it decides by; windows.py says when
control.py   approve, apply, pause, resume, cancel, speed, stop all
failures.py  what was quarantined, and again only that
verify.py    read the cohort again
undo.py      a backfill that takes back what another one did
forgetting.py  who the users were, and what they had
listing.py   what people ask to see
notice.py    who is told when a run ends or stalls

The engine knows no kind: it hands batches of users to one and keeps what that answers.
"""
