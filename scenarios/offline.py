"""MLPerf Inference's Offline: all requests at once; the metric is throughput.

Its rules: at least 24,576 sentences and ten minutes. Here they are requests of sixteen sentences, from enough users to
saturate the server.

locust -f scenarios/offline.py --headless -u 8 -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["offline"])


class OfflineUser(BertUser):
    pass
