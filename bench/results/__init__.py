"""The stored truth: workload, arrivals, request records, environment, run folders."""
