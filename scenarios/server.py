"""MLPerf Inference's Server: Poisson arrivals; the metric is the highest rate whose p99 stays within a limit.

Its rules: ten minutes, and 270,336 queries for p99 without early stopping. A run with fewer has a warning.

locust -f scenarios/server.py --headless -u 256 -t 11m --arrivals poisson:rate=40
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["server"])


class ServerUser(BertUser):
    pass
