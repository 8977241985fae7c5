"""The kernel's share: known unicast forwarded by programs in the kernel, by our FDB, under our rules, on our bill."""
