"""One running bridge: the data plane, its thread, and what follows from a configuration."""
