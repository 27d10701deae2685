"""MLPerf Inference's Offline: all there is to send, as fast as it is taken; the figure is throughput.

Its rules: 24,576 sentences and ten minutes at least. Here as requests of sixteen sentences from enough users to keep
the server busy.

locust -f scenarios/offline.py --headless -u 8 -t 11m
"""

from bench.load.scenario import BertUser, SampleRule, Scenario, install

install(
    Scenario(
        name="offline",
        protocol="grpc",
        arrivals="closed",
        users=8,
        run_time="610s",
        sentences=16,
        options={"request_timeout": "5m"},
        rule=SampleRule(source="MLPerf's Offline", requests=24_576, seconds=600.0, per_sentence=True),
    )
)


class OfflineUser(BertUser):
    pass
