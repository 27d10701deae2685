"""MLPerf Inference's MultiStream: eight sentences in one request, one request at a time; the metric is p99.

Its rules: ten minutes, and at least 662 queries, the least that bound p99 with 99 % confidence.

locust -f scenarios/multi_stream.py --headless -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["multi-stream"])


class MultiStreamUser(BertUser):
    pass
