"""The systems under test, one small file each; see bench/lab/system.py."""
