"""`python -m bench.server.embedded` with `tensorflow_model_server`'s flags."""

import sys

from bench.server.embedded.server import exit_now, main

exit_now(main(sys.argv[1:]))
