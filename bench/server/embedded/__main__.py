"""`python -m bench.server.embedded` with `tensorflow_model_server`'s flags."""

import sys

from bench.core.extras import missing_extra

try:
    from bench.server.embedded.server import exit_now, main
except ModuleNotFoundError as error:
    refused = missing_extra(error)
    if refused is None:
        raise
    sys.exit(f"bertbench: {refused}")

exit_now(main(sys.argv[1:]))
