"""MLPerf Inference's SingleStream: one sentence at a time, the next when the answer is there; the figure is p90.

Its rules (LoadGen's `mlperf.conf`): 1,024 queries and ten minutes at least. A shorter run says so.

locust -f scenarios/single_stream.py --headless -t 11m
"""

from bench.load.scenario import BertUser, SampleRule, Scenario, install

install(
    Scenario(
        name="single-stream",
        protocol="grpc",
        arrivals="closed",
        users=1,
        run_time="610s",
        rule=SampleRule(source="MLPerf's SingleStream", requests=1024, seconds=600.0),
    )
)


class SingleStreamUser(BertUser):
    pass
