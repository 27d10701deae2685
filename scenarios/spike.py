"""A quiet rate with bursts: how long does it take until latency is back to normal?

locust -f scenarios/spike.py --headless -u 128 -t 2m --arrivals burst:base=10,peak=80,every=20s,length=2s
"""

from bench.load.scenario import BertUser, Scenario, install

install(
    Scenario(
        name="spike",
        protocol="rest",
        arrivals="burst:base=5,peak=60,every=20s,length=2s",
        users=128,
        run_time="2m",
        options={"warmup": "0", "drain": "30s"},
    )
)


class SpikeUser(BertUser):
    pass
