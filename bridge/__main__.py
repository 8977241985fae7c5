"""`python -m bridge` is the command `framebridge`."""

import sys

from bridge.cli import main

sys.exit(main())
