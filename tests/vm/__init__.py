"""Stories on a second kernel: Debian's, in a virtual machine."""
