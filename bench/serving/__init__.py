"""The client side of TensorFlow Serving. Nothing here imports the TensorFlow runtime."""

import os

# gRPC's own library writes to standard error what the mapped exceptions say already; who wants that sets the variable.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
