"""``python -m contextlab``; see `contextlab.cli`."""

import sys

from contextlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
