"""The routes, one file a group; each says what it takes, calls the stage that does it, and says what came of it."""
