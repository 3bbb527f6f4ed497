"""The four sources, served on the loopback from made-up data or a file: for the demo, for tests and for rehearsals.

goods.py       what was bought, with versions, as the primary has it and as a replica may still have it
made_up.py     goods out of a seed; groceries.py: out of a CSV file; names.py: what both call products and categories
faults.py      what goes wrong: declared when it starts or while it runs
arrivals.py    when requests came, as a limit is counted
app.py         the four services, and /sandbox to steer them
"""
