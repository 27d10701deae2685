"""A moderate rate for a long time: memory that grows and latency that creeps show here.

locust -f scenarios/soak.py --headless -u 64 -t 2h --arrivals poisson:rate=20
"""

from bench.load.scenario import BertUser, Scenario, install

install(
    Scenario(
        name="soak",
        protocol="rest",
        arrivals="poisson:rate=10",
        users=64,
        run_time="30m",
        # Hours of answers: a tenth of them tells as much about the server's state.
        options={"check_share": "10%"},
    )
)


class SoakUser(BertUser):
    pass
