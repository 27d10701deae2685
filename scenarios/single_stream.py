"""MLPerf Inference's SingleStream: one sentence at a time, the next when the answer is there; the figure is p90.

Its rules (LoadGen's `mlperf.conf`): 1,024 queries and ten minutes at least. A shorter run says so.

locust -f scenarios/single_stream.py --headless -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["single-stream"])


class SingleStreamUser(BertUser):
    pass
