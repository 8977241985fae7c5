"""The demo: namespaces, traffic, figures, and the clean-up."""
