"""A moderate rate for a long time, to find growing memory and latency.

locust -f scenarios/soak.py --headless -u 64 -t 2h --arrivals poisson:rate=20
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["soak"])


class SoakUser(BertUser):
    pass
