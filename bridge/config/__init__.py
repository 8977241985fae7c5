"""Configuration as values: parse, check, plan, write. Nothing here runs anything."""
