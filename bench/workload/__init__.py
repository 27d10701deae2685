"""The workload: requests, arrivals, traces, and balancing policies."""
