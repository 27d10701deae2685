"""A growing rate: latency rises where the server saturates.

locust -f scenarios/ramp.py --headless -u 128 -t 3m --arrivals ramp:from=5,to=80
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["ramp"])


class RampUser(BertUser):
    pass
