"""The verbs, one file a group; each file's `add_to` hangs its verbs into the command."""
