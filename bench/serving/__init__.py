"""The client side of TensorFlow Serving. Nothing here imports the TensorFlow runtime."""

import os

# The mapped exceptions contain what gRPC's own library writes to stderr; users may set the variable for its log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# Its handler of fork waits for its own threads, at times for ever. Processes are only forked here to run a program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
