"""MLPerf Inference's MultiStream: eight sentences in one request, one request at a time; the figure is p99.

Its rules: ten minutes, and 662 queries at least, from which on p99 can be told with 99 % confidence if one lies above.

locust -f scenarios/multi_stream.py --headless -t 11m
"""

from bench.load.scenario import BertUser, SampleRule, Scenario, install

install(
    Scenario(
        name="multi-stream",
        protocol="grpc",
        arrivals="closed",
        users=1,
        run_time="610s",
        sentences=8,
        rule=SampleRule(source="MLPerf's MultiStream", requests=662, seconds=600.0),
    )
)


class MultiStreamUser(BertUser):
    pass
