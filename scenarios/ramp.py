"""A rate that grows through the run: where latency leaves the ground is where the server fills up.

locust -f scenarios/ramp.py --headless -u 128 -t 3m --arrivals ramp:from=5,to=80
"""

from bench.load.scenario import BertUser, Scenario, install

install(
    Scenario(
        name="ramp",
        protocol="rest",
        arrivals="ramp:from=2,to=40",
        users=128,
        run_time="3m",
        # A ramp begins low: there is nothing to warm up for.
        options={"warmup": "0", "drain": "30s"},
    )
)


class RampUser(BertUser):
    pass
