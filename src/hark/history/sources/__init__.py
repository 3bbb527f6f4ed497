"""The four services that know what people buy, asked over the one guarded client, politely.

purchase.py        Purchase History: receipts of a user          shop.py       Button Transaction Service: shop orders
product.py         FIDO: products by id, in bulk                 category.py   where a category stands
reach.py           the four, as the settings name them
enrich.py          what was bought and never asked for: products, then their categories

polite.py          one question: its permit, its answer, waits, another try
pace.py            when it may be asked: the rate, as the server counts it; how long it is left alone
retry_after.py     what a server says of waiting
paging.py          a list out of pages: whole and of one moment, or not at all
contracts.py       what answers are made of; money.py: amounts; loaded.py: what becomes facts

docs/reference/sources.md is the contract.
"""
