"""A small forum that uses Hark as a product would: `make forum`.

posts.py     posts, comments and likes: what happens is told to Hark in the transaction in which it happens
app.py       the pages
running.py   Hark beside the forum in one process, on a clock that can be moved
hark.toml    what people are told of; feeds/ and recheck/ hold its queries over the forum's tables (schema.sql)
"""
