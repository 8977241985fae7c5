"""The bridges: one small file each. What a machine lacks is skipped with the reason."""
