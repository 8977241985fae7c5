"""How large a bridge may be: `python -m bench scale`.

64 ports, 8 of them trunks of all 4,094 VLANs, every VLAN with a table of its own, and 65,536 MAC addresses, under a
real daemon in namespaces. Each figure stands beside its target; docs/benchmarking.md says how it is measured.
"""
