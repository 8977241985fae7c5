"""The pair: a bridge as one of two, of which one forwards."""
