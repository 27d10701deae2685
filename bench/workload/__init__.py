"""What is asked of a server and when: requests, arrivals, traces, and how a balancer chooses."""
