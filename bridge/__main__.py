"""`python -m bridge` is the command `framebridge`."""

import sys

from bridge.cli.main import main

sys.exit(main())
