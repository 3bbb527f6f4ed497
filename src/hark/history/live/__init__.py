"""What people buy, as it happens: from Kafka or from files of JSON lines, into facts.

    message ─▶ news ─▶ let in? ─▶ facts, position     one transaction a chunk
                 └▶ dead letter

contracts.py   what a message is, and the facts that it says; or all that is wrong with it
ingest.py      one chunk: decided by one view of the gate, recorded with the position that it brings its stream to
gates.py       who is let in, as the settings say
positions.py   how far each stream was taken
dead.py        what could not be taken: kept with its cause, replayed, dropped
switch.py      all of it, paused and resumed
jsonl.py       streams that are files; lines.py: their lines, while they are still written
kafka.py       streams that are topics: who of a group reads what, from where
brokers.py     what brokers are asked beside that
lag.py         how far each group is behind, and whether that is well
"""
