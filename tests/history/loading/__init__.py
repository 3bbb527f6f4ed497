"""Loads of what people bought, with the sandbox as their sources."""
