"""REST and gRPC clients, their connections, and pools of them."""
