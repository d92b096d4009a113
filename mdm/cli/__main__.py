"""`python -m mdm.cli`."""

import sys

from mdm.cli.app import main

sys.exit(main())
