"""What people bought: a pipeline of its own, beside that of the notifications.

    source ─▶ fact ─▶ version ─▶ projection ─▶ graph
    (live, or  (highest  (of its   (what changed   (or, without one,
    a load)     wins)     user)     since)          answers in SQL)

fact.py        one word about one purchase, and what it may be
facts.py       the truth: `record_facts` for whatever comes, live or by a load; `undo_facts` takes a load back
people.py      how far each user's facts have moved on: locked by whoever moves them
tending.py     keeps all that up to date, in loops of a worker
products.py    products and categories as known; what is still to be asked, once
window.py      the day from which facts count, rolled on nightly
answers.py     the questions that the graph answers, answered from Postgres
audit/         whether the graph is what the facts say, and the facts what the sources have
sources/       the four services that know what people buy, asked politely; sandbox/: the four, made up

Whatever order things come in, and however often, the facts end the same; and all else is computed from them.
"""
