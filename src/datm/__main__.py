"""`python -m datm` is the command `datm`."""

import sys

from datm.cli import main

if __name__ == "__main__":
    sys.exit(main())
