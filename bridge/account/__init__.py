"""The bill: what the counters of the data plane say about who spent which cycles, and the limits on it."""
