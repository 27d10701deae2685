"""MLPerf Inference's Offline: all there is to send, as fast as it is taken; the figure is throughput.

Its rules: 24,576 sentences and ten minutes at least. Here as requests of sixteen sentences from enough users to keep
the server busy.

locust -f scenarios/offline.py --headless -u 8 -t 11m
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["offline"])


class OfflineUser(BertUser):
    pass
