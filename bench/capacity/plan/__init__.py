"""From the fitted model to rates, replicas, costs and what-if scenarios."""
