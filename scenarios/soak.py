"""A moderate rate for a long time: memory that grows and latency that creeps show here.

locust -f scenarios/soak.py --headless -u 64 -t 2h --arrivals poisson:rate=20
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["soak"])


class SoakUser(BertUser):
    pass
