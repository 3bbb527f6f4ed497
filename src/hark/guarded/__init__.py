"""The one guarded way out: every HTTP call that Hark makes goes through `client.Guarded`.

urls.py            which URLs may be called at all
addresses.py       which addresses are not connected to, and what an operator allows all the same
client.py          the client: resolves once, connects to what it checked, follows nothing, reads no more than it must

It imports none of them: the client brings a web client along, which most commands have no need of.
"""
