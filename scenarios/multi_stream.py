"""MLPerf Inference's MultiStream: eight sentences in one request, one request at a time; the figure is p99.

Its rules: ten minutes, and 662 queries at least, from which on p99 can be told with 99 % confidence if one lies above.

locust -f scenarios/multi_stream.py --headless -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["multi-stream"])


class MultiStreamUser(BertUser):
    pass
