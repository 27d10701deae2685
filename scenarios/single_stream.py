"""MLPerf Inference's SingleStream: one sentence at a time, the next after the answer; the metric is p90.

Its rules (LoadGen's `mlperf.conf`): at least 1,024 queries and ten minutes. A shorter run has a warning.

locust -f scenarios/single_stream.py --headless -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["single-stream"])


class SingleStreamUser(BertUser):
    pass
