"""A low rate with bursts, to see how long latency takes to recover.

locust -f scenarios/spike.py --headless -u 128 -t 2m --arrivals burst:base=10,peak=80,every=20s,length=2s
"""

from bench.load.scenario import SCENARIOS, BertUser, install

install(SCENARIOS["spike"])


class SpikeUser(BertUser):
    pass
