"""HTTP/2 (RFC 9113) as far as gRPC needs it, without input or output: for the embedded server and for load."""
