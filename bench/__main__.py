"""`python -m bench` is the console script `bertbench`."""

import sys

from bench.cli import main

sys.exit(main())
