"""Groups: which ports get which multicast. Snooping decides, the querier asks, rows tell."""
