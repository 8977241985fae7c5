"""The command `framebridge`: its grammar, its commands an object, what they print."""
