"""The gRPC endpoint: methods, and gRPC on HTTP/2."""
