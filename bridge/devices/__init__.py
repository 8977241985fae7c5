"""Kernel devices: netlink, namespaces, and what a device says about itself."""
