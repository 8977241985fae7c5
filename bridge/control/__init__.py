"""The control socket: protocol, methods, server, client."""
